"""What the run would cost: printed, and written as text and as a table."""

import sys
from pathlib import Path

from elusive import logs
from elusive.configuration import registry
from elusive.plan.estimate import Paths
from elusive.plan.text import write_plan

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        # A workflow that imports this one may have moved the results, its log among them.
        results = Path(snakemake.log[0]).parents[1]
        paths = {name: str(results.parent / path) for name, path in snakemake.params.paths.items()}
        wording = write_plan(
            registry=registry.load(snakemake.config, files=snakemake.params.files),
            paths=Paths(**paths),
            output_text=results / "plan.txt",
            output_parquet=results / "tables" / "plan.parquet",
            output_csv=results / "tables" / "plan.csv",
        )
        sys.stdout.write(wording)

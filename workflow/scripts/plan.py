"""What the run would cost: printed, and written as text and as a table."""

import sys

from elusive import logs
from elusive.configuration import registry
from elusive.plan.estimate import Paths
from elusive.plan.text import write_plan

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        wording = write_plan(
            registry=registry.load(snakemake.config, files=snakemake.params.files),
            paths=Paths(**snakemake.params.paths),
            output_text=snakemake.params.text,
            output_parquet=snakemake.params.parquet,
            output_csv=snakemake.params.csv,
        )
        sys.stdout.write(wording)

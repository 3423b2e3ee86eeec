"""What depends on a family's checkpoints: intervals over them, means under shuffled compute, scores to recommend."""

from elusive import logs
from elusive.analysis.over_checkpoints import TABLES, write_over_checkpoints

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_over_checkpoints(
            metrics=snakemake.input.metrics,
            items=snakemake.input.items_table,
            outputs={name: (snakemake.output[name], snakemake.output[f"{name}_csv"]) for name in TABLES},
        )

"""How far mean and median correlations depend on the checkpoints, for all families and benchmarks."""

from elusive import logs
from elusive.analysis.checkpoint_intervals import write_checkpoint_intervals

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_checkpoint_intervals(
            metrics=snakemake.input.metrics,
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
        )

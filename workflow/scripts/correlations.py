"""Correlation of each metric with log FLOPs, per item of one benchmark, over one family."""

from elusive import logs
from elusive.correlations import write_correlations

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_correlations(
            metrics=snakemake.input.metrics,
            family=snakemake.params.family,
            benchmark=snakemake.params.benchmark,
            output=snakemake.output[0],
        )

"""Correlation of each metric with log FLOPs, per item of one benchmark, over every family."""

from elusive import logs
from elusive.analysis.correlations import write_correlations

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        families = snakemake.params.families
        write_correlations(
            metrics=dict(zip(families, snakemake.input, strict=True)),
            benchmark=snakemake.wildcards.benchmark,
            outputs=dict(zip(families, snakemake.output, strict=True)),
        )

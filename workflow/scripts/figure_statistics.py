"""Statistics of the correlations on all benchmarks for one method."""

from elusive import logs
from elusive.figures.data import labelled
from elusive.figures.statistics import write_statistics

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_statistics(
            statistics=snakemake.input.statistics,
            intervals=snakemake.input.intervals,
            items=labelled(snakemake.input.items_table, snakemake.params.labels),
            families=snakemake.params.families,
            method=snakemake.wildcards.method,
            outputs=dict(snakemake.output.items()),
        )

"""Correlations by subject of one benchmark, for one method."""

from elusive import logs
from elusive.figures.subjects import write_subjects

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_subjects(
            statistics=snakemake.input.statistics,
            items=snakemake.input.items_table,
            families=snakemake.params.families,
            method=snakemake.wildcards.method,
            outputs=dict(snakemake.output.items()),
        )

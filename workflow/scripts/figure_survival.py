"""Survival curves of one benchmark's score–compute correlations."""

from elusive import logs
from elusive.figures.survival import write_survival

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_survival(
            correlations=snakemake.input.correlations,
            items=snakemake.input.items_table,
            families=snakemake.params.families,
            outputs=dict(snakemake.output.items()),
        )

"""Which scores of which benchmark follow compute, in one figure."""

from elusive import logs
from elusive.figures.data import labelled
from elusive.figures.hero import write_hero

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_hero(
            headline=snakemake.input.headline,
            ceiling=snakemake.input.ceiling,
            items=labelled(snakemake.input.items_table, snakemake.params.labels),
            families=snakemake.params.families,
            outputs=dict(snakemake.output.items()),
        )

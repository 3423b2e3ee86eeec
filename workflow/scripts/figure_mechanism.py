"""How the loss of correlation at p_choices depends on the choices."""

from elusive import logs
from elusive.figures.data import labelled
from elusive.figures.mechanism import write_mechanism

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_mechanism(
            mechanism=snakemake.input.mechanism,
            drops=snakemake.input.drops,
            items=labelled(snakemake.input.items_table, snakemake.params.labels),
            families=snakemake.params.families,
            outputs=dict(snakemake.output.items()),
        )

"""Mass on correct and on incorrect choices of one benchmark."""

from elusive import logs
from elusive.figures.masses import write_masses

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_masses(
            metrics=snakemake.input.metrics,
            items=snakemake.input.items_table,
            families=snakemake.params.families,
            outputs=dict(snakemake.output.items()),
        )

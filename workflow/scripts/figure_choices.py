"""How closely right and wrong choices of one benchmark follow compute."""

from elusive import logs
from elusive.figures.choices import write_choices

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_choices(
            choices=snakemake.input.choices,
            correlations=snakemake.input.correlations,
            items=snakemake.input.items_table,
            families=snakemake.params.families,
            outputs=dict(snakemake.output.items()),
        )

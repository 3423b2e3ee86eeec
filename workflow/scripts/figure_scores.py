"""How one benchmark's metrics map onto each other."""

from elusive import logs
from elusive.figures.scores import write_scores

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_scores(
            metrics=snakemake.input.metrics,
            items=snakemake.input.items_table,
            families=snakemake.params.families,
            outputs=dict(snakemake.output.items()),
        )

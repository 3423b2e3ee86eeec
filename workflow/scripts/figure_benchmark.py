"""All figures of one benchmark."""

from elusive import logs
from elusive.figures.benchmark import write_benchmark
from elusive.figures.data import Labelled
from elusive.figures.save import grouped

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_benchmark(
            metrics=snakemake.input.metrics,
            correlations=snakemake.input.correlations,
            single_choices=snakemake.input.choices,
            means_table=snakemake.input.means,
            statistics=snakemake.input.statistics,
            null_bands=snakemake.input.null_bands,
            null_curves=snakemake.input.null_curves,
            items=Labelled(snakemake.input.items_table, snakemake.params.label),
            families=snakemake.params.families,
            outputs=grouped(dict(snakemake.output.items()), snakemake.params.kinds),
        )

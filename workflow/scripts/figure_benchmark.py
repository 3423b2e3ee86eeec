"""All figures of one benchmark, those of forecasts among them."""

from elusive import logs
from elusive.figures.benchmark import write_benchmark
from elusive.figures.data import Labelled
from elusive.figures.forecasts import write_forecast_benchmark
from elusive.figures.save import grouped

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        outputs, families = dict(snakemake.output.items()), snakemake.params.families
        items = Labelled(snakemake.input.items_table, snakemake.params.label)
        write_benchmark(
            metrics=snakemake.input.metrics,
            correlations=snakemake.input.correlations,
            single_choices=snakemake.input.choices,
            means_table=snakemake.input.means,
            statistics=snakemake.input.statistics,
            null_bands=snakemake.input.null_bands,
            null_curves=snakemake.input.null_curves,
            items=items,
            families=families,
            outputs=grouped(outputs, snakemake.params.kinds),
        )
        family, label = next(iter(families.items()))
        write_forecast_benchmark(
            means=snakemake.input.means,
            backtests=snakemake.input.backtests,
            forecasts=snakemake.input.forecasts,
            laws=snakemake.input.laws,
            law_means=snakemake.input.law_means,
            probabilities=snakemake.input.probabilities[0],
            items=items,
            family=family,
            label=label,
            members=snakemake.params.members,
            outputs=grouped(outputs, snakemake.params.forecast_kinds),
        )

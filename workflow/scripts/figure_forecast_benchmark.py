"""Forecasts, laws and likely turns of one benchmark."""

from elusive import logs
from elusive.figures.forecasts import write_forecast_benchmark
from elusive.figures.save import grouped

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_forecast_benchmark(
            means=snakemake.input.means,
            backtests=snakemake.input.backtests,
            forecasts=snakemake.input.forecasts,
            laws=snakemake.input.laws,
            law_means=snakemake.input.law_means,
            probabilities=snakemake.input.probabilities[0],
            items=snakemake.input.items_table,
            family=snakemake.params.family,
            label=snakemake.params.label,
            members=snakemake.params.members,
            outputs=grouped(dict(snakemake.output.items()), snakemake.params.kinds),
        )

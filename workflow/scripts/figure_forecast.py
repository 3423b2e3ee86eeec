"""How well forecasts did: errors, coverage, reliability and skill."""

from elusive import logs
from elusive.figures.forecasts import write_forecast_overview
from elusive.figures.save import grouped

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_forecast_overview(
            summary=snakemake.input.summary,
            coverage=snakemake.input.coverage,
            reliability=snakemake.input.reliability,
            laws=snakemake.input.laws,
            items=snakemake.input.items_table,
            families=snakemake.params.families,
            outputs=grouped(dict(snakemake.output.items()), snakemake.params.kinds),
        )

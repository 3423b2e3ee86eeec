"""Forecasts, backtests and laws of every family on one benchmark, and which score orders models early on."""

from elusive import logs
from elusive.configuration.forecasting import Target
from elusive.forecast.cells import write_cells

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        families, parts = snakemake.params.families, snakemake.params.parts
        files = [snakemake.output[part] for part in parts]
        write_cells(
            logprobs=snakemake.input.logprobs,
            items=snakemake.input.items_table,
            families=families,
            groups=snakemake.params.groups,
            benchmark=snakemake.wildcards.benchmark,
            targets=[Target(*target) for target in snakemake.params.targets],
            metrics=snakemake.params.metrics,
            draws=snakemake.params.draws,
            subjects=snakemake.params.subjects,
            outputs={
                family: dict(zip(parts, own, strict=True))
                for family, own in zip(families, zip(*files, strict=True), strict=True)
            },
            decisions=snakemake.output.decisions,
        )

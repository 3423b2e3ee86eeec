"""Forecasts, backtests and laws of every family on one benchmark, and which score orders models early on."""

from elusive import logs
from elusive.configuration.forecasting import Target
from elusive.forecast.cells import write_cells

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        families, parts, groups = snakemake.params.families, snakemake.params.parts, snakemake.params.groups
        benchmark = snakemake.wildcards.benchmark
        described = [about for own in (*families.values(), *groups.values()) for about in own]
        members = {(about["model"], about["checkpoint"]) for about in described if about["flops"] > 0}
        files = [snakemake.output[part] for part in parts]
        write_cells(
            logprobs=[
                snakemake.params.logprobs.format(model=model, checkpoint=checkpoint, benchmark=benchmark)
                for model, checkpoint in sorted(members)
            ],
            items=snakemake.input.items_table,
            families=families,
            groups=groups,
            benchmark=benchmark,
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

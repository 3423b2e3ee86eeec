"""Items to look at in the report, and the distributions of their correlations."""

from elusive import logs
from elusive.report.drilldown import MOST_VALUES, write_drilldown

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        members, benchmark = snakemake.params.members, snakemake.wildcards.benchmark
        keys = {(about["model"], about["checkpoint"]) for own in members.values() for about in own}
        write_drilldown(
            logprobs=[
                snakemake.params.logprobs.format(model=model, checkpoint=checkpoint, benchmark=benchmark)
                for model, checkpoint in sorted(keys)
            ],
            items=snakemake.input.items_table,
            correlations=dict(zip(snakemake.params.families, snakemake.input.correlations, strict=True)),
            probabilities=dict(zip(snakemake.params.families, snakemake.input.probabilities, strict=True)),
            members=members,
            label=snakemake.params.label,
            output=snakemake.output[0],
            values=MOST_VALUES // snakemake.params.benchmarks,
        )

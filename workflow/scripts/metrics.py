"""Metrics of one benchmark, and how each of its choices moves with compute, for every family."""

from elusive import logs
from elusive.analysis.choices import write_choices
from elusive.analysis.metrics import write_metrics

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        families = snakemake.params.families
        scored = {
            "logprobs": snakemake.input.logprobs,
            "items": snakemake.input.items_table,
            "families": families,
            "benchmark": snakemake.wildcards.benchmark,
        }
        write_metrics(
            **scored,
            outputs=dict(zip(families, snakemake.output.metrics, strict=True)),
            allow_duplicates=snakemake.params.allow_duplicates,
        )
        write_choices(**scored, outputs=dict(zip(families, snakemake.output.choices, strict=True)))

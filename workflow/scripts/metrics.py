"""Metrics of one benchmark for every family, from the log-likelihoods of their checkpoints."""

from elusive import logs
from elusive.metrics import write_metrics

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_metrics(
            logprobs=snakemake.input.logprobs,
            items=snakemake.input.items_table,
            families=snakemake.params.families,
            benchmark=snakemake.wildcards.benchmark,
            outputs=dict(zip(snakemake.params.families, snakemake.output, strict=True)),
        )

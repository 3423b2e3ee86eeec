"""Metrics of one family on one benchmark, from the log-likelihoods of its checkpoints."""

from elusive import logs
from elusive.metrics import write_metrics

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_metrics(
            logprobs=snakemake.input.logprobs,
            items=snakemake.input.items_table,
            family=snakemake.params.family,
            benchmark=snakemake.params.benchmark,
            output=snakemake.output[0],
        )

"""Log-likelihoods on a benchmark, from a published data set."""

from pathlib import Path

from elusive import logs
from elusive.configuration.published import Published
from elusive.publish.unpack import outputs_of, write_logprobs

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_logprobs(
            Published.open(str(Path(snakemake.input[0]).parent)),
            snakemake.wildcards.benchmark,
            snakemake.input.items_table,
            outputs_of(snakemake.output, snakemake.params.checkpoints),
        )

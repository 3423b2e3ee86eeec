"""The data set: tables, card, manifest and checksums."""

from elusive import logs
from elusive.publish.dataset import workflow_version, write_dataset

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_dataset(
            items=snakemake.input.items_table,
            logprobs=snakemake.input.logprobs,
            tables={name: snakemake.input[name] for name in snakemake.params.tables},
            dictionary=snakemake.input.dictionary,
            described=snakemake.params.described,
            made_by=workflow_version(snakemake.params.root),
            output=snakemake.output[0],
        )

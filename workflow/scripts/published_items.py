"""The items table of a benchmark, from a published data set."""

from pathlib import Path

from elusive import logs
from elusive.configuration.published import Published
from elusive.publish.unpack import write_items

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        published = Published.open(str(Path(snakemake.input[0]).parent))
        write_items(published, snakemake.wildcards.benchmark, snakemake.output[0])

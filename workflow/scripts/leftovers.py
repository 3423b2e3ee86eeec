"""Results that the configuration no longer has: listed, or removed."""

import sys
from pathlib import Path

from elusive import logs
from elusive.configuration import registry
from elusive.plan import leftovers

logger = logs.get("elusive.plan")

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        # A workflow that imports this one may have moved the results, its log among them.
        results = Path(snakemake.log[0]).parents[1]
        configured = registry.load(snakemake.config, files=snakemake.params.files)
        own = [str(results.parent / path) for path in snakemake.params.paths]
        found = leftovers.find(configured, [*snakemake.params.patterns, *own], results)
        listed = results / "leftovers.txt"
        if snakemake.params.removes:
            logger.info("removed %d files and directories", leftovers.remove(found, listed, results))
        else:
            sys.stdout.write(leftovers.write_list(found, listed))

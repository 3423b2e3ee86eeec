"""What each transformation of the chain costs, on all benchmarks, for one method."""

from elusive import logs
from elusive.figures.attribution import write_attribution
from elusive.figures.data import labelled

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_attribution(
            attribution=snakemake.input.attribution,
            items=labelled(snakemake.input.items_table, snakemake.params.labels),
            families=snakemake.params.families,
            method=snakemake.wildcards.method,
            outputs=dict(snakemake.output.items()),
        )

"""Items whose score loses its correlation with compute, to look at in the report."""

from elusive import logs
from elusive.report.drilldown import write_drilldown

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_drilldown(
            logprobs=snakemake.input.logprobs,
            items=snakemake.input.items_table,
            correlations=snakemake.input.correlations[0],
            members=snakemake.params.members,
            label=snakemake.params.label,
            output=snakemake.output[0],
        )

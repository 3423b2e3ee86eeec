"""The report: everything in one page."""

from elusive import logs
from elusive.report.report import write_report

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_report(
            items=snakemake.input.items_table,
            logprobs=snakemake.input.logprobs,
            checkpoints=snakemake.input.checkpoints,
            scores=snakemake.input.scores,
            statistics=snakemake.input.statistics,
            reference=snakemake.input.reference,
            figures=snakemake.params.figures,
            pngs=snakemake.input.pngs,
            captions=snakemake.input.captions,
            families=snakemake.params.families,
            members=snakemake.params.members,
            output=snakemake.output[0],
        )

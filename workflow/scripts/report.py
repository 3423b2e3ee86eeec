"""The report: everything in one page."""

from elusive import logs
from elusive.figures.data import labelled
from elusive.report.report import Tables, write_report

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_report(
            items=labelled(snakemake.input.items_table, snakemake.params.labels),
            logprobs=snakemake.input.logprobs,
            summary=Tables(**{name: snakemake.input[name] for name in snakemake.params.tables}),
            drilldowns=snakemake.input.drilldowns,
            figures=snakemake.params.figures,
            pngs=snakemake.input.pngs,
            captions=snakemake.input.captions,
            families=snakemake.params.families,
            plotted=snakemake.params.plotted,
            members=snakemake.params.members,
            output=snakemake.output[0],
        )

"""The report: everything in one page, the page of all figures, and the record of this very run."""

from pathlib import Path

from elusive import logs
from elusive.figures.data import labelled
from elusive.report.report import Tables, write_report
from elusive.report.run import write_record

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        # The folder of Snakemake's benchmarks lies beside the page's, wherever the workflow's results are.
        write_record(snakemake.output.record, Path(snakemake.output.record).parent / "benchmarks")
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
            output=snakemake.output.report,
            gallery=snakemake.output.gallery,
            record=snakemake.output.record,
            config=snakemake.config,
            forecasts={name: snakemake.input[name] for name in snakemake.params.forecasts},
        )

"""Measured accuracies beside the published ones."""

from elusive import logs
from elusive.analysis.reference import write_reference

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_reference(
            scores=snakemake.input.scores,
            items=snakemake.input.items_table,
            published=snakemake.input.published,
            trained=snakemake.params.trained,
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
        )

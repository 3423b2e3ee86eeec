"""Mean scores on whole benchmarks, and how well they follow compute."""

from elusive import logs
from elusive.analysis.aggregates import write_aggregates

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_aggregates(
            metrics=snakemake.input.metrics,
            items=snakemake.input.items_table,
            families=snakemake.params.families,
            means_parquet=snakemake.output.means_parquet,
            means_csv=snakemake.output.means_csv,
            aggregates_parquet=snakemake.output.parquet,
            aggregates_csv=snakemake.output.csv,
        )

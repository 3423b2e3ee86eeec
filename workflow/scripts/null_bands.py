"""Null distributions of correlations with compute, and bands of their statistics, for every family."""

from elusive import logs
from elusive.analysis.null import write_null_bands

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_null_bands(
            families=snakemake.params.families,
            items=snakemake.input.items_tables,
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
            curves_parquet=snakemake.output.curves_parquet,
            curves_csv=snakemake.output.curves_csv,
        )

"""Statistics of the correlations' distributions, for all families and benchmarks."""

from elusive import logs
from elusive.analysis.statistics import write_statistics

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_statistics(
            correlations=snakemake.input.correlations,
            items=snakemake.input.items_tables,
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
        )

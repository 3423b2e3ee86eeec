"""Which score of each benchmark follows compute best."""

from elusive import logs
from elusive.analysis.predictability import write_predictability

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_predictability(
            statistics=snakemake.input.statistics,
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
        )

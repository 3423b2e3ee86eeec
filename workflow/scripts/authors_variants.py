"""How much the paper's own computation changes, for all families and benchmarks."""

from elusive import logs
from elusive.analysis.authors import write_authors_variants

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_authors_variants(
            metrics=snakemake.input.metrics,
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
        )

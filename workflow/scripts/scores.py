"""Mean scores of every checkpoint on every benchmark, against chance."""

from elusive import logs
from elusive.analysis.scores import write_scores

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_scores(
            metrics=snakemake.input.metrics,
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
        )

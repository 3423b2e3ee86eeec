"""What the wrong choices do, and how the loss of correlation depends on them."""

from elusive import logs
from elusive.analysis.mechanism import Inputs, write_mechanism

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        tables = zip(snakemake.input.choices, snakemake.input.correlations, snakemake.input.metrics, strict=True)
        write_mechanism(
            inputs=[Inputs(*paths) for paths in tables],
            items=snakemake.input.items_table,
            mechanism_parquet=snakemake.output.parquet,
            mechanism_csv=snakemake.output.csv,
            drops_parquet=snakemake.output.drops_parquet,
            drops_csv=snakemake.output.drops_csv,
        )

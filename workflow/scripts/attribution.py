"""How much of the fall from log p_vocab to a score each transformation causes."""

from elusive import logs
from elusive.analysis.attribution import write_attribution

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_attribution(
            correlations=snakemake.input.correlations,
            items=snakemake.input.items_table,
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
        )

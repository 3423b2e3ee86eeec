"""How closely the validation loss follows compute, tokens and parameters: the ceiling of any score."""

from elusive import logs
from elusive.analysis.ceiling import write_ceiling

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_ceiling(
            families=snakemake.params.families,
            checkpoints=snakemake.input.checkpoints,
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
        )

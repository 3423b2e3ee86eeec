"""The table of checkpoints: sizes, tokens, FLOPs and validation losses."""

from pathlib import Path

from elusive import logs
from elusive.analysis.checkpoints import write_checkpoints

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_checkpoints(
            checkpoints=snakemake.params.checkpoints,
            training=[Path(directory) / "training.json" for directory in snakemake.input.training],
            losses={(model, checkpoint): loss for model, checkpoint, loss in snakemake.params.losses},
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
        )

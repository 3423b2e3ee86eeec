"""Validation loss of the ladder against compute."""

from elusive import logs
from elusive.figures.loss import write_loss

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_loss(
            checkpoints=snakemake.input.checkpoints,
            outputs=dict(snakemake.output.items()),
        )

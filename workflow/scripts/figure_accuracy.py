"""Mean accuracy on all benchmarks against compute."""

from elusive import logs
from elusive.figures.accuracy import write_accuracy

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_accuracy(
            scores=snakemake.input.scores,
            items=snakemake.input.items_table,
            outputs=dict(snakemake.output.items()),
        )

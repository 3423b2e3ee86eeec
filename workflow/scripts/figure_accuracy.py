"""Mean accuracy on all benchmarks against compute, by model and by family."""

from elusive import logs
from elusive.figures.accuracy import write_accuracy
from elusive.figures.data import labelled
from elusive.figures.save import grouped

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        outputs = grouped(dict(snakemake.output.items()), ["accuracy", "scaling"])
        write_accuracy(
            scores=snakemake.input.scores,
            means=snakemake.input.means,
            items=labelled(snakemake.input.items_table, snakemake.params.labels),
            families=snakemake.params.families,
            members=snakemake.params.members,
            outputs=outputs["accuracy"],
            scaling_outputs=outputs["scaling"],
        )

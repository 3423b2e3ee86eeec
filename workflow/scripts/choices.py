"""How the mass on each choice of one benchmark moves with compute, for every family."""

from elusive import logs
from elusive.choices import write_choices

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_choices(
            logprobs=snakemake.input.logprobs,
            items=snakemake.input.items_table,
            families=snakemake.params.families,
            benchmark=snakemake.wildcards.benchmark,
            outputs=dict(zip(snakemake.params.families, snakemake.output, strict=True)),
        )

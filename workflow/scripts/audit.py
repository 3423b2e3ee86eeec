"""What to look at before one trusts the numbers."""

from elusive import logs
from elusive.analysis.audit import write_audit

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        families, benchmarks = snakemake.params.families, snakemake.params.benchmarks
        pairs = [(family, benchmark) for family in families for benchmark in benchmarks]
        members = {(about["model"], about["checkpoint"]) for own in families.values() for about in own}
        place = snakemake.params.logprobs
        write_audit(
            logprobs=[
                place.format(model=model, checkpoint=checkpoint, benchmark=benchmark)
                for model, checkpoint in sorted(members)
                for benchmark in benchmarks
            ],
            metrics=dict(zip(pairs, snakemake.input.metrics, strict=True)),
            items=dict(zip(benchmarks, snakemake.input.items_table, strict=True)),
            means=snakemake.input.means,
            families=families,
            output_parquet=snakemake.output.parquet,
            output_csv=snakemake.output.csv,
        )

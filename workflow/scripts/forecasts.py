"""The tables of forecasts, backtests and decisions over all families and benchmarks."""

from elusive import logs
from elusive.forecast.decisions import write_decisions
from elusive.forecast.gather import write_forecasts

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        outputs = dict(snakemake.output.items())
        parts = dict(snakemake.input.items())
        write_decisions(
            parts=parts.pop("decisions"),
            output_parquet=outputs.pop("decisions_parquet"),
            output_csv=outputs.pop("decisions_csv"),
        )
        write_forecasts(parts=parts, outputs=outputs)

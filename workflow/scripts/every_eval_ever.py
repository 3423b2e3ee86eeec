"""Instance results in the schema of Every Eval Ever."""

from elusive import logs
from elusive.configuration.published import Published
from elusive.publish.every_eval_ever import export

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        export(Published.open(snakemake.input[0]), snakemake.output[0])

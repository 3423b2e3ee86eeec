"""How to read a survival curve."""

from elusive import logs
from elusive.figures.example import write_example

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_example(outputs=dict(snakemake.output.items()))

"""What every column of every table means, from the data contract."""

from elusive import logs
from elusive.tables import data_dictionary, write_csv

if __name__ == "__main__":
    with logs.to_file(snakemake.log[0]):
        write_csv(data_dictionary(), snakemake.output[0])

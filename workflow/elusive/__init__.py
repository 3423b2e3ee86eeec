"""Which benchmark scores can be predicted from pretraining compute, which cannot, and why.

One module or package a stage, in the order of the flow: ``registry`` (what is scored), ``items`` (benchmarks),
``ladder`` (models trained here), ``scoring`` (log-likelihood of every choice), ``metrics``, ``correlations``,
``statistics``, ``figures``, ``report``. ``tables`` holds the data contract, ``files`` the way every output is
written. Importing this package imports nothing heavy: Snakemake does it whenever it parses the workflow.
"""

__version__ = "0.1.0"

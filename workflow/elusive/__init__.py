"""Which benchmark scores can be predicted from pretraining compute, which cannot, and why.

A package a stage, in the order of the flow: ``items`` (benchmarks), ``configuration`` (what is asked for), ``plan``
(what it would cost), ``ladder`` (models trained here), ``hub`` (models fetched), ``scoring`` (log-likelihood of every
choice), ``importing`` (the same out of logs), ``analysis`` (metrics, correlations and their statistics), ``forecast``
(scores at more compute), ``figures``, ``report``, ``publish`` (the tables as a data set). On the ground, used by all
and using none of them: ``tables`` (the data contract), ``files`` (the way every output is written), ``logs``,
``errors``, ``environment``, ``dependencies`` (the code behind a script) and ``runs`` (a run as its jobs see it). A
stage imports earlier ones only. Importing this package imports nothing heavy: Snakemake does it whenever it parses
the workflow.
"""

__version__ = "0.1.0"

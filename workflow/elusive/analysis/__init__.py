"""From log-likelihoods to tables: metrics, their correlations with compute, and what becomes of them up to accuracy.

Pure functions of the logprobs and items tables, without any model, for the figures, the report and whoever reads the
tables: ``metrics``, ``correlations``, ``choices``, ``distributions`` and ``statistics``, then ``attribution``,
``mechanism``, ``predictability``, ``aggregates``, and comparisons: ``null``, ``authors``, ``reference``.
"""

from elusive.tables import leave_pandas_out

leave_pandas_out()

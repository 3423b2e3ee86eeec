"""The report: one self-contained page of what was run, what was found, every figure, and the statistics.

From the tables and figures to ``report.html``, for people. ``findings`` and ``summaries`` word what the tables say,
``drilldown`` picks items to look at, ``published`` compares with published numbers, ``report`` puts the page together.
"""

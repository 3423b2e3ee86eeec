"""The report: one self-contained page of what was run, what was found, every item, and the statistics.

From the tables and figures to ``report.html``, for people. ``headline`` holds the strip that the page begins with,
``sentences``, ``order``, ``findings`` and ``titles`` word what the tables say (each sentence a claim that the code can
refuse to make), ``summaries`` and ``published`` lay out tables, ``drawings`` and ``svg`` draw what needs no scripts,
``drilldown`` and ``curves`` gather items and distributions, a file a benchmark, ``pictures`` has the figures and the
page of all of them, ``run`` the provenance, ``words`` the glossary, ``embed`` packs tables for the scripts. ``page``
holds the templates (a file a section), the style sheet and the scripts; ``report`` puts the page together.
"""

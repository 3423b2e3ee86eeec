"""Figures: one module a kind, each with a pure function from data to a plot, one to its caption, and a writer.

The writers save a PNG, a PDF and the caption as text; the report and ``snakemake --report`` show the three together.
Nothing is imported here, so that a job loads only what its figure needs.
"""

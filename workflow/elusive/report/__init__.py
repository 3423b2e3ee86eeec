"""The report: one self-contained page of what was run, what was found, every figure, and the statistics."""

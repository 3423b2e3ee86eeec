"""What a configuration asks for: models, checkpoints, families and benchmarks, checked before anything runs.

From the merged configuration, the schema and the catalogue of published models to the frozen ``Registry`` that every
rule looks things up in. ``registry`` puts it together; ``models``, ``families`` and ``benchmarks`` each read their
entries, ``forecasting`` what is to be forecast and decided; ``messages`` words what is wrong; ``directory`` says what a
checkpoint's directory must hold.
"""

"""What a configuration asks for: models, checkpoints, families and benchmarks, checked before anything runs.

From the merged configuration, the schema and the catalogue of published models to the frozen ``Registry`` that every
rule looks things up in. ``registry`` puts it together; ``models``, ``families`` and ``benchmarks`` each read their
entries, ``local`` those of models in directories, ``imported`` those of logs, ``published`` those of a published data
set; ``forecasting`` reads what is to be forecast and decided; ``messages`` words what is wrong. ``directory`` says what
a checkpoint's directory must hold, and ``inspection`` looks at one before anything runs, by the ``headers`` of its
weights and by what is known of ``architectures``.
"""

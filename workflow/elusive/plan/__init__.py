"""What a run would cost: downloads, disk, floating-point operations and GPU time, before any of it is paid.

``sizes`` knows how many tokens each benchmark feeds to a model, ``estimate`` turns what remains to be done into costs,
``text`` words them, and ``budget`` stops a run that would exceed what the configuration allows. No weights and no
tokenizer are needed.
"""

"""Log-likelihood of every choice of every item under one checkpoint: equation (1), the only stage with a model.

``tokenize`` turns prompts into token sequences by lm-eval's rule, ``plan`` lays them out into batches,
``loglikelihood`` runs the model over them, ``cells`` keeps one table per checkpoint × benchmark up to date,
``loading`` makes a model of a directory, ``devices`` picks where to run, ``command`` is the command line.
"""

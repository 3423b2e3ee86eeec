"""Log-likelihood of every choice of every item under one checkpoint: equation (1), the only stage with a model.

In the order of the work: ``command`` is the command line and ``spec`` what it asks for, ``cells`` keeps one table per
checkpoint × benchmark up to date, ``prompts`` reads the choices, ``devices`` picks where to run, ``loading`` makes a
model of a directory, ``tokenize`` turns prompts into tokens by lm-eval's rule, ``plan`` lays them out into batches,
``loglikelihood`` runs the model over them. What makes it fast is apart: ``packed`` (attention for inputs that share
their beginnings), ``onednn`` (linear layers), ``vocabulary`` (the output layer). So is what makes it right: ``weights``
(the model is what its files say), ``reference`` (the plainest way to run it, which every other is held against),
``lengths`` (where a model changes how it computes), ``precision`` (what rounding may do).
"""

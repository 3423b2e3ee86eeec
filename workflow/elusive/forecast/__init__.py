"""What scores will be at more parameters and tokens: laws of every choice's log-likelihood, judged by backtests.

Pure functions of the logprobs tables, without any model. ``scores`` reads a family's log-likelihoods, ``points`` picks
the checkpoints to learn from, ``kernel``, ``path`` and ``margins`` are the method (kriging of margins), ``laws``,
``composed`` and ``clustering`` what it is compared with, ``methods`` names them all. ``backtests`` forecasts what is
known already, ``inflation`` widens intervals by earlier errors, ``summaries`` averages errors, ``targets`` forecasts
what is asked for. ``items``, ``decisions`` and ``subsets`` are about single items and about which metric to look at;
``summary`` words what was found, and ``command`` answers for any N and D on the spot.
"""

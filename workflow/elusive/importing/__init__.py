"""Log-likelihoods out of other harnesses' logs: the tables that scoring makes, without weights, torch or network.

A reader a format (``lm_eval``, ``lm_eval_before``, ``olmes``, ``lighteval``, ``plain``) turns a file into records, one
an item (``records``); ``checks`` recomputes what the log says of each. ``sources`` finds out which file is which
checkpoint and task, ``items`` makes items tables out of logs, ``matching`` finds a table's items in a log by their
texts, ``tables`` writes the log-likelihoods, and ``inspection`` looks at a folder before anything is configured.
"""

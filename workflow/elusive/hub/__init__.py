"""Checkpoints from the Hugging Face hub: which files, which commit, and a download that survives a bad connection.

From a repository and a revision to a checkpoint directory that scoring opens. ``client`` speaks to the hub, ``select``
picks the files, ``download`` fetches and checks them. Which checkpoints are needed at all, scoring knows, which also
has the command line (:mod:`elusive.scoring.fetch`, ``python -m elusive download``).
"""

"""Checkpoints from the Hugging Face hub: which files, which commit, and a download that survives a bad connection."""

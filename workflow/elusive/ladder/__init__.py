"""The ladder: a family of GPT-NeoX models trained by the workflow, where no weights can be had.

``corpus`` makes the training text and its tokenizer, ``training`` the models and their checkpoints.
"""

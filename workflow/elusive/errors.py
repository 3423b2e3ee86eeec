"""The one exception whose message is meant for the person who runs the workflow."""


class ElusiveError(Exception):
    """Something the user can act on: the message names the file, the key or row, and what is allowed."""

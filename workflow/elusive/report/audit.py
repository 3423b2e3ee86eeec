"""What there is to look at before the numbers are trusted, from the table ``audit``: nothing where all is well."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

#: Kinds of rows of the table, in the order of the page, and what it calls them.
KINDS = {
    "equal": "Equal checkpoints",
    "off_trend": "Checkpoints off the trend of their run",
    "truncated": "Prompts that were cut",
    "dropped": "Items left out",
    "warning": "What scoring warns of",
    "ties": "Ties of half precision",
    "mixture": "Scored in different ways",
}
#: Sentences of a kind that are shown.
SHOWN = 12


@dataclass(frozen=True)
class Group:
    """The rows of one kind: ``more`` is how many sentences are in the table alone."""

    heading: str
    sentences: list[str]
    more: int


def groups(audit: pd.DataFrame) -> list[Group]:
    """The table by kind; empty when it is.

    What is said of a checkpoint in several families is said once. Kinds that :data:`KINDS` does not name come last,
    under their own name.
    """
    result = []
    for kind in dict.fromkeys([*KINDS, *audit["kind"]]):
        sentences = list(dict.fromkeys(audit.loc[audit["kind"] == kind, "text"]))
        if sentences:
            more = max(0, len(sentences) - SHOWN)
            result.append(Group(KINDS.get(kind, kind.capitalize()), sentences[:SHOWN], more))
    return result


def summary(found: list[Group]) -> str | None:
    """One line for the top of the page; None where there is nothing."""
    if not found:
        return None
    count = sum(len(group.sentences) + group.more for group in found)
    return f"Before you trust the numbers: {count:,} finding{'s' * (count != 1)} of the audit"

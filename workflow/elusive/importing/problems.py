"""Everything that is wrong with some logs, collected so that it can be said at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from elusive import logs
from elusive.errors import ElusiveError

logger = logs.get(__name__)

#: Problems that a message spells out.
SHOWN = 50


class Problems:
    """Errors and warnings in the order in which they are found, each once."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def error(self, message: str) -> None:
        """Add an error."""
        if message not in self.errors:
            self.errors.append(message)

    def warn(self, message: str) -> None:
        """Add a warning."""
        if message not in self.warnings:
            self.warnings.append(message)

    @contextlib.contextmanager
    def collecting(self) -> Iterator[None]:
        """Add an :class:`ElusiveError` of the block as an error, and go on behind the block."""
        try:
            yield
        except ElusiveError as error:
            self.error(str(error))

    def settle(self, where: str) -> None:
        """Log the warnings; raise :class:`ElusiveError` with all errors, if there are any, naming ``where``."""
        for warning in self.warnings:
            logger.warning("warning: %s", warning)
        if len(self.errors) == 1:
            raise ElusiveError(self.errors[0])
        if self.errors:
            raise ElusiveError(f"{where}: {len(self.errors)} problems\n{listing(self.errors)}")


def listing(messages: list[str]) -> str:
    """Messages as a list, a line each, the first :data:`SHOWN` of them."""
    lines = [f"  - {message}" for message in messages[:SHOWN]]
    if len(messages) > SHOWN:
        lines.append(f"  … and {len(messages) - SHOWN} more")
    return "\n".join(lines)

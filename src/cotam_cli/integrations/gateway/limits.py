"""What may be in flight at once: counts of pictures, of their pixels and of buffered bytes. One event loop only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Busy(Exception):
    """No room now; the caller should come again."""


class Budget:
    """A number that requests take from and give back to; nobody waits."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, amount: int) -> None:
        """Raises Busy when it does not fit. What is larger than the whole budget fits when nothing else is there."""
        if self.used and self.used + amount > self.limit:
            raise Busy
        self.used += amount

    def give(self, amount: int) -> None:
        self.used -= amount

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Hold an amount for the length of a `with` block."""
        self.take(amount)
        try:
            yield
        finally:
            self.give(amount)

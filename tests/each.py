"""One test for many files: a test of its own for each costs more than what it looks at."""

from collections.abc import Callable, Iterable
from typing import Any


def each_of(items: Iterable[Any]) -> Callable[[Callable[[Any], None]], Callable[[], None]]:
    """Return a decorator: the test is one that goes through all items and names those that fail."""

    def decorate(test: Callable[[Any], None]) -> Callable[[], None]:
        def through_all() -> None:
            failed = []
            for item in items:
                try:
                    test(item)
                except AssertionError as error:
                    failed.append(f"{item}: {error}")
            assert not failed, "\n".join(failed)

        return through_all

    return decorate

"""Items that several processes share: each takes its turn, and all answers come in order.

Without a launcher all of it is plain iteration, and no torch is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from qr_cli.engine.launch import is_child

T = TypeVar("T")
R = TypeVar("R")


def told(read: Callable[[], T], device: str) -> T:
    """Return what the first process reads; it tells the others.

    Args:
        read: reads it.
        device: auto, cpu, cuda or mps, as in `process_state`.
    """
    if not is_child():
        return read()
    from accelerate.utils import broadcast_object_list

    from qr_cli.engine.accelerator import process_state

    held: list[Any] = [read() if process_state(device).is_main_process else None]
    broadcast_object_list(held)
    found: T = held[0]
    return found


def in_turns(items: Iterable[T], work: Callable[[T], Iterable[R]], device: str) -> Iterator[R]:
    """Yield the answers to all items in order; every process yields all of them.

    Args:
        items: the same in every process.
        work: answers one item; called by one process.
        device: auto, cpu, cuda or mps, as in `process_state`.
    """
    if not is_child():
        for item in items:
            yield from work(item)
        return
    from accelerate.utils import gather_object

    from qr_cli.engine.accelerator import process_state

    state, rest = process_state(device), iter(items)
    while block := list(islice(rest, state.num_processes)):
        mine = block[state.process_index : state.process_index + 1]  # nothing, at the end
        yield from gather_object([answer for item in mine for answer in work(item)])

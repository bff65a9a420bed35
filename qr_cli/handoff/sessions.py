"""The states of live conversations: bounded, least recently used goes first, old ones expire.

All states stand in one table per name, a row a session, so memory depends on the bound alone.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qr_cli.handoff.decide import Counters

LIMIT, BYTES = 10_000, 512 * 2**20  # sessions and bytes of states that are kept by default
SWEEP = 1000  # events between looks for expired sessions
State = dict[str, np.ndarray]


@dataclass(slots=True)
class Live:
    """One conversation: its row in the table, its counters and when it was last heard of."""

    row: int
    counters: Counters = field(default_factory=Counters)
    seen: float = 0.0


class Sessions:
    """Conversations by id.

    Args:
        start: gives the state of `n` conversations that have not begun.
        limit: how many are kept; None: 10,000, or as many as 512 MiB hold.
        ttl: seconds after which an unheard one is dropped.
    """

    def __init__(
        self, start: Callable[[int], State], *, limit: int | None = None, ttl: float = 3600.0
    ) -> None:
        one = start(1)
        size = sum(values.nbytes for values in one.values())
        self.limit = limit or max(1, min(LIMIT, BYTES // max(1, size)))
        self.ttl, self.evicted, self.expired = ttl, 0, 0
        self._blank, self._table = one, {k: v[:0].copy() for k, v in one.items()}
        self._live: OrderedDict[str, Live] = OrderedDict()
        self._free: list[int] = []
        self._events = 0

    def __len__(self) -> int:
        return len(self._live)

    def get(self, name: str, now: float | None) -> Live | None:
        """Return a session, or None if it is unknown or has expired; it is now the latest."""
        found = self._live.get(name)
        if found is None:
            return None
        moment = time.monotonic() if now is None else now
        if moment - found.seen > self.ttl:
            self.drop(name)
            self.expired += 1
            return None
        found.seen = moment
        self._live.move_to_end(name)
        return found

    def moves(self, name: str) -> set[str]:
        """Return the sessions that an event of `name` may push out or find expired."""
        if (self._events + 1) % SWEEP == 0:
            return set(self._live)
        full = name not in self._live and len(self._live) >= self.limit
        return {next(iter(self._live))} if full else set()

    def add(self, name: str, now: float | None) -> Live:
        """Begin a session; the least recently used one goes where there is no room."""
        if len(self._live) >= self.limit:
            self.drop(next(iter(self._live)))
            self.evicted += 1
        if not self._free:
            self._grow()
        live = Live(self._free.pop(), seen=time.monotonic() if now is None else now)
        for key, values in self._table.items():
            values[live.row] = self._blank[key][0]
        self._live[name] = live
        return live

    def drop(self, name: str) -> bool:
        """Forget a session; tell whether there was one."""
        live = self._live.pop(name, None)
        if live is not None:
            self._free.append(live.row)
        return live is not None

    def reset(self, live: Live) -> None:
        """Let a session begin again."""
        live.counters = Counters()
        for key, values in self._table.items():
            values[live.row] = self._blank[key][0]

    def tick(self, now: float | None) -> None:
        """Count an event; drop expired sessions now and then."""
        self._events += 1
        if self._events % SWEEP:
            return
        moment = time.monotonic() if now is None else now
        # Oldest first, but clocks of clients differ: a late one only hides others until it goes.
        while self._live and moment - next(iter(self._live.values())).seen > self.ttl:
            self.drop(next(iter(self._live)))
            self.expired += 1

    def rows(self, chosen: list[int]) -> State:
        """Return a copy of the states of some rows."""
        return {key: values[chosen] for key, values in self._table.items()}

    def store(self, chosen: list[int], state: State) -> None:
        """Write the states of some rows."""
        for key, values in state.items():
            self._table[key][chosen] = values

    def _grow(self) -> None:
        """Double the table, up to the limit."""
        have = len(next(iter(self._table.values())))
        more = min(max(64, have), self.limit - have)
        for key, values in self._table.items():
            blank = np.repeat(self._blank[key], more, axis=0)
            self._table[key] = np.concatenate([values, blank])
        self._free += range(have + more - 1, have - 1, -1)

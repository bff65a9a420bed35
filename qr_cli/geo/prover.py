"""Proof search: forward closure with the checker's rules, then the best proof backwards.

Forward: every statement of the elements that a rule supports becomes a fact and keeps up to twelve
derivations, round after round, until the goal appears and one round more. Sums of angles are tried
only where plain facts leave elements unused. Backward: depth first over derivations from the goal.
Found proofs are ranked by elements left unused (a published problem lists just what its proof
speaks of), then by length, then by how little they assume; without a list of elements by steps
that need the diagram, then by length.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from qr_cli.geo.board import Board
from qr_cli.geo.candidates import algebra, statements
from qr_cli.geo.givens import ProofProblem
from qr_cli.geo.proof import Element, Statement, Step, canonical, normal
from qr_cli.geo.propose import propose
from qr_cli.geo.reasons import REASONS
from qr_cli.geo.support import Support

FACTS, DERIVATIONS, STEPS, NODES = 300, 12, 14, 3000
LEAVES = (31, 3, 35, 19, 4, 16, 22, 33, 14)  # how the published proofs order steps without premises


@dataclass
class _Known:
    """A fact of the search: its statement, the round it appeared in, and why it holds."""

    statement: Statement
    index: int
    derivations: list[tuple[int, Support]] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """A proof: its elements, its steps, and how it ranks: least first."""

    elements: tuple[Element, ...]
    steps: tuple[Step, ...]
    rank: tuple[float, ...]


def prove(problem: ProofProblem, *, limit: int = 10, seconds: float | None = None) -> list[Found]:
    """Return proofs of a problem, best first; every one passes `check`.

    Args:
        problem: with its elements, or without: then they are proposed from givens and goal.
        limit: how many proofs at most.
        seconds: CPU time to look (3 s with elements, 5 s without); the closure stops there.
    """
    until = time.process_time() + (seconds or (3.0 if problem.elements else 5.0))
    if problem.elements:
        return _Search(problem, problem.elements, free=False, until=until).search(limit)
    for wide in (False, True):  # new lines are drawn only where those there are not enough
        elements = propose(problem, wide=wide)
        found = _Search(problem, elements, free=True, until=until).search(limit)
        if found:
            return found
    return []


class _Search:
    def __init__(
        self, problem: ProofProblem, elements: Sequence[Element], *, free: bool, until: float
    ) -> None:
        self.problem, self.elements, self.free, self.until = problem, elements, free, until
        self.goal = canonical(problem.goal)
        self.board = Board(problem, elements)
        self.known: dict[Statement, _Known] = {}
        self.by_index: dict[int, _Known] = {}
        self.pool = list(statements(elements, problem.goal, free=free))

    # forward -------------------------------------------------------------------------------

    def _close(self, *, sums: bool) -> None:
        """Add facts until nothing new is found, or one round after the goal was."""
        last = self.goal in self.known and not sums
        while True:
            before = len(self.known)
            self._round()
            if sums:
                self._algebra()
            if last or len(self.known) in (before, FACTS) or time.process_time() > self.until:
                return
            last = self.goal in self.known

    def _round(self) -> None:
        fresh: list[_Known] = []
        for statement, reasons in self.pool:
            if time.process_time() > self.until:
                break
            for reason in reasons:
                for support in REASONS[reason].rule(self.board, statement):
                    if support.level:
                        self._take(statement, reason, support, fresh)
        self._publish(fresh)

    def _algebra(self) -> None:
        fresh: list[_Known] = []
        for reason, statement, uses in algebra(self.board, self.goal):
            self._take(statement, reason, Support(2, uses), fresh)
        self._publish(fresh)

    def _take(
        self, statement: Statement, reason: int, support: Support, fresh: list[_Known]
    ) -> None:
        form = canonical(statement)
        known = self.known.get(form)
        if known is None:
            if len(self.known) >= FACTS:
                return
            known = _Known(statement, len(self.known))
            self.known[form] = self.by_index[known.index] = known
            fresh.append(known)
        if known.index in support.uses or len(known.derivations) >= DERIVATIONS:
            return
        if (reason, support) not in known.derivations:
            known.derivations.append((reason, support))

    def _publish(self, fresh: list[_Known]) -> None:
        for known in fresh:
            self.board.add(known.statement, known.index)

    # backward ------------------------------------------------------------------------------

    def search(self, limit: int) -> list[Found]:
        """Return proofs, with sums of angles only where plain facts leave elements unused."""
        self._close(sums=False)
        found = self.proofs(limit)
        if found and found[0].rank[0] == 0:
            return found
        self._close(sums=True)
        return self.proofs(limit)

    def proofs(self, limit: int) -> list[Found]:
        """Return the best proofs the known facts allow."""
        goal = self.known.get(self.goal)
        if goal is None:
            return []
        self._nodes = 0
        found: dict[tuple[Step, ...], Found] = {}
        for chosen in self._choices([goal.index], {}):
            proof = self._written(chosen, goal.index)
            found.setdefault(proof.steps, proof)
        return sorted(found.values(), key=lambda proof: proof.rank)[:limit]

    def _choices(
        self, open_: list[int], chosen: dict[int, tuple[int, Support]]
    ) -> Iterator[dict[int, tuple[int, Support]]]:
        """Yield complete choices of one derivation per needed fact."""
        self._nodes += 1
        if self._nodes > NODES or len(chosen) + len(open_) > STEPS:
            return
        if not open_:
            yield dict(chosen)
            return
        index, rest = open_[-1], open_[:-1]
        for derivation in self.by_index[index].derivations:
            needs = [use for use in derivation[1].uses if use >= 0]
            if any(self._reaches(use, index, chosen) for use in needs):
                continue
            more = [use for use in needs if use not in chosen and use not in rest]
            chosen[index] = derivation
            yield from self._choices(rest + more, chosen)
            del chosen[index]

    def _reaches(self, start: int, end: int, chosen: dict[int, tuple[int, Support]]) -> bool:
        stack = [start]
        while stack:
            at = stack.pop()
            if at == end:
                return True
            if at in chosen:
                stack += [use for use in chosen[at][1].uses if use >= 0]
        return False

    def _written(self, chosen: dict[int, tuple[int, Support]], goal: int) -> Found:
        order = _order(chosen, goal)
        steps = [Step(chosen[i][0], self._worded(self.by_index[i].statement)) for i in order]
        steps[-1] = Step(steps[-1].reason, self.problem.goal)
        used = {normal(t) for step in steps for t in _terms(step.statement)}
        unused = sum(normal(e) not in used for e in self.elements) if not self.free else 0
        level = sum(chosen[i][1].level for i in order) / len(order)
        elements = tuple(self.elements) if not self.free else _spoken(steps)
        unsure = sum(chosen[i][1].level < 2 for i in order) if self.free else 0
        return Found(elements, tuple(steps), (unused, unsure, len(steps), -level))

    def _worded(self, statement: Statement) -> Statement:
        """Return a statement with its operands in the order the published proofs prefer."""
        relation, left, right = statement
        if relation in ("congruent", "parallel", "vertical", "similar"):
            one, two = left[0], right[0]
            if isinstance(one, Element) and isinstance(two, Element) and two.points < one.points:
                if one.kind != "triangle" or list(two.points) == sorted(two.points):
                    return Statement(relation, right, left)
        return statement


def _terms(statement: Statement) -> list[Element]:
    return [t for t in statement.left + statement.right if isinstance(t, Element)]


def _spoken(steps: Sequence[Step]) -> tuple[Element, ...]:
    return tuple(dict.fromkeys(normal(t) for step in steps for t in _terms(step.statement)))


def _order(chosen: dict[int, tuple[int, Support]], goal: int) -> list[int]:
    """Return the facts of a proof in the order they are written: leaves, then what needs them."""
    leaves = [
        i for i, (reason, s) in chosen.items() if reason in LEAVES and max(s.uses, default=-1) < 0
    ]
    first = {chosen[i][0] for i in chosen} & {33, 10}
    rank = {reason: place for place, reason in enumerate(LEAVES)} | ({14: -1} if first else {})
    order = sorted((i for i in leaves if i != goal), key=lambda i: (rank[chosen[i][0]], i))
    done = set(order)

    def visit(index: int) -> None:
        if index in done:
            return
        done.add(index)
        for use in sorted(u for u in chosen[index][1].uses if u >= 0):
            visit(use)
        order.append(index)

    visit(goal)
    return order

"""Rules about angles at lines: crossing and parallel lines, right angles, adjacent parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from qr_cli.geo.board import NO, YES, Board, Look, best, both
from qr_cli.geo.proof import Element, Statement, normal
from qr_cli.geo.support import Support, all_of, held

Place = Literal[
    "alternate", "same-side", "corresponding", "alternate exterior", "same-side exterior"
]


def _angles(statement: Statement) -> tuple[Element, Element] | None:
    """Return x and y of `x congruent y`, two angles."""
    one, two = statement.left[0], statement.right[0]
    if statement.relation == "congruent" and one.kind == "angle":  # type: ignore[union-attr]
        return one, two  # type: ignore[return-value]
    return None


def _sum_to(statement: Statement, value: int) -> tuple[Element, Element] | None:
    """Return x and y of `x + y = value`, two angles."""
    if statement.relation != "equal":
        return None
    terms, total = statement.left, statement.right
    if total != (value,):
        terms, total = total, terms
    if total != (value,) or len(terms) != 2 or any(isinstance(t, int) for t in terms):
        return None
    return terms  # type: ignore[return-value]


def _lines(statement: Statement) -> tuple[Element, Element] | None:
    if statement.relation != "parallel":
        return None
    return statement.left[0], statement.right[0]  # type: ignore[return-value]


def lines(board: Board, x: Element, y: Element, one: Element, two: Element, place: Place) -> Look:
    """May x and y lie in this place at two lines and a transversal through their vertices?"""
    return best(_ways(board, x, y, one, two, place))


def _ways(
    board: Board, x: Element, y: Element, one: Element, two: Element, place: Place
) -> Iterator[Look]:
    for u, w in ((x, y), (y, x)):
        v, z = u.vertex, w.vertex
        if v == z:
            continue
        for first, p, t in board.arms(u, one):
            if t is not None and {t, v} == set(one.points):
                continue
            for second, q, s in board.arms(w, two):
                if s is not None and {s, z} == set(two.points):
                    continue
                if _fits(board, v, z, t, s, place) and _drawn(board, v, z, p, q, t, s, place):
                    yield _note(both(first, second), u, w, place, board)


def _fits(board: Board, v: str, w: str, t: str | None, s: str | None, place: Place) -> bool:
    """Tell whether the letters allow the place: t and s are the arms along the transversal."""
    facing = (t == w) + (s == v)
    if place == "corresponding":
        return facing < 2
    if place.endswith("exterior"):
        return facing == 0
    if facing == 1 and t is not None and s is not None:
        return frozenset((v, w, s if t == w else t)) not in board.corners
    return True


def _drawn(
    board: Board, v: str, w: str, p: str, q: str, t: str | None, s: str | None, place: Place
) -> bool:
    """Tell whether coordinates, if there are any, show the place."""
    if not board.points:
        return True
    same = board.side(p, v, w) * board.side(q, v, w)
    if same != (-1 if place.startswith("alternate") else 1):
        return False
    wanted = {(1, -1), (-1, 1)} if place == "corresponding" else {(1, 1)}
    if place.endswith("exterior"):
        wanted = {(-1, -1)}
    seen = (board.toward(v, t, w), board.toward(w, s, v))
    if any(a == 0 and arm is not None for a, arm in zip(seen, (t, s), strict=True)):
        return False
    return any(all(a in (0, b) for a, b in zip(seen, want, strict=True)) for want in wanted)


def _note(look: Look, x: Element, y: Element, place: Place, board: Board) -> Look:
    if board.points or not look.level:
        return look
    words = f"{place} interior" if place in ("alternate", "same-side") else place
    return Look(1, (f"{x} and {y} are {words} angles", *look.assumes))


def _of_parallels(board: Board, x: Element, y: Element, place: Place) -> Iterator[Support]:
    for one, two, index in board.parallels:
        yield held(lines(board, x, y, one, two, place), index)


def _parallel_by(board: Board, statement: Statement, place: Place) -> Iterator[Support]:
    if pair := _lines(statement):
        one, two = map(normal, pair)
        for equal in board.equals:
            if equal.one.kind == "angle":
                yield held(lines(board, equal.one, equal.two, one, two, place), *equal.uses)


def alternate_angles(board: Board, statement: Statement) -> Iterator[Support]:
    """Parallel lines make alternate interior angles equal."""
    if pair := _angles(statement):
        yield from _of_parallels(board, *pair, "alternate")


def corresponding_angles(board: Board, statement: Statement) -> Iterator[Support]:
    """Parallel lines make corresponding angles equal."""
    if pair := _angles(statement):
        yield from _of_parallels(board, *pair, "corresponding")


def exterior_angles(board: Board, statement: Statement) -> Iterator[Support]:
    """Parallel lines make alternate exterior angles equal."""
    if pair := _angles(statement):
        yield from _of_parallels(board, *pair, "alternate exterior")


def same_side_sum(board: Board, statement: Statement) -> Iterator[Support]:
    """Parallel lines make same-side interior angles supplementary."""
    if pair := _sum_to(statement, 180):
        yield from _of_parallels(board, *pair, "same-side")


def exterior_sum(board: Board, statement: Statement) -> Iterator[Support]:
    """Parallel lines make same-side exterior angles supplementary."""
    if pair := _sum_to(statement, 180):
        yield from _of_parallels(board, *pair, "same-side exterior")


def alternate_parallel(board: Board, statement: Statement) -> Iterator[Support]:
    """Equal alternate interior angles make lines parallel."""
    yield from _parallel_by(board, statement, "alternate")


def corresponding_parallel(board: Board, statement: Statement) -> Iterator[Support]:
    """Equal corresponding angles make lines parallel."""
    yield from _parallel_by(board, statement, "corresponding")


def same_side_parallel(board: Board, statement: Statement) -> Iterator[Support]:
    """Supplementary same-side interior angles make lines parallel."""
    if pair := _lines(statement):
        for fact, index in board.facts:
            if angles := _sum_to(fact, 180):
                one, two = map(normal, pair)
                yield held(lines(board, *angles, one, two, "same-side"), index)


def vertical_angles(board: Board, statement: Statement) -> Iterator[Support]:
    """Angles at one vertex whose arms form two lines."""
    pair = _angles(statement)
    if not pair or not (pair[0].arms and pair[1].arms) or pair[0].vertex != pair[1].vertex:
        return
    v, (a, b), arms = pair[0].vertex, pair[0].arms, pair[1].arms
    if len({a, b, *arms}) == 4:
        for c, d in (arms, arms[::-1]):
            yield held(both(board.between(v, a, c), board.between(v, b, d)))


def linear_pair(board: Board, statement: Statement) -> Iterator[Support]:
    """Angles that share one arm and whose others form a line."""
    pair = _sum_to(statement, 180)
    if not pair or not (pair[0].arms and pair[1].arms) or pair[0].vertex != pair[1].vertex:
        return
    common = set(pair[0].arms) & set(pair[1].arms)
    if len(common) == 1:
        (a,), (b,) = set(pair[0].arms) - common, set(pair[1].arms) - common
        yield held(board.between(pair[0].vertex, a, b))


def _is_right(board: Board, x: Element) -> Iterator[Support]:
    """Yield why an angle is a right one."""
    for other, index in board.constants.get(90, ()):
        if other == normal(x):
            yield Support(2, (index,))
    for one, two, index in board.verticals:
        yield held(_formed(board, x, one, two), index)


def _formed(board: Board, x: Element, one: Element, two: Element) -> Look:
    """Do perpendicular lines form the angle x?"""
    v, ends = x.vertex, (set(one.points), set(two.points))
    if x.arms is None:
        if v in ends[0] & ends[1]:
            return YES
        if ends[0] & ends[1] or v not in ends[0] | ends[1]:
            return NO
        if board.points:
            return both(board.on(v, one), board.on(v, two))
        return Look(1, (f"{one} and {two} meet at {v}",))
    a, b = x.arms
    return best(both(board.along(one, v, p), board.along(two, v, q)) for p, q in ((a, b), (b, a)))


def right_angles(board: Board, statement: Statement) -> Iterator[Support]:
    """Two different right angles."""
    pair = _angles(statement)
    if pair and normal(pair[0]) != normal(pair[1]):
        for first in _is_right(board, pair[0]):
            if first.level:
                yield from (all_of(first, second) for second in _is_right(board, pair[1]))


def perpendicular(board: Board, statement: Statement) -> Iterator[Support]:
    """Perpendicular lines form right angles, and right angles lie between perpendicular lines."""
    one, two = statement.left[0], statement.right[0]
    if statement.relation == "equal" and len(statement.left) == len(statement.right) == 1:
        x, value = (two, one) if isinstance(one, int) else (one, two)
        if value == 90 and isinstance(x, Element) and x.kind == "angle":
            yield from _is_right(board, x)
    elif statement.relation == "vertical":
        for x, index in board.constants.get(90, ()):
            yield held(_formed(board, x, normal(one), normal(two)), index)  # type: ignore[arg-type]


def supplementary(board: Board, statement: Statement) -> Iterator[Support]:
    """A given that two angles are supplementary."""
    if pair := _sum_to(statement, 180):
        for index, given in board.givens:
            if given.kind == "supplementary":
                if sorted(map(normal, pair)) == sorted(map(normal, given.elements)):
                    yield Support(2, (index,))


def _whole_and_parts(statement: Statement) -> Iterator[tuple[Element, Element, Element]]:
    """Yield whole and parts of x = y + z."""
    for whole, parts in ((statement.left, statement.right), (statement.right, statement.left)):
        if statement.relation == "equal" and len(whole) == 1 and len(parts) == 2:
            if all(isinstance(t, Element) for t in whole + parts):
                yield whole[0], parts[0], parts[1]  # type: ignore[misc]


def segment_sum(board: Board, statement: Statement) -> Iterator[Support]:
    """A segment is the sum of its parts."""
    for whole, one, two in _whole_and_parts(statement):
        common = set(one.points) & set(two.points)
        if whole.kind == "segment" and len(common) == 1:
            if set(one.points) ^ set(two.points) == set(whole.points):
                (m,) = common
                yield held(board.between(m, *whole.points), cap=2 if board.points else 1)


def adjacent_sum(board: Board, statement: Statement) -> Iterator[Support]:
    """An angle is the sum of two adjacent parts."""
    for whole, one, two in _whole_and_parts(statement):
        if whole.kind != "angle" or not (whole.arms and one.arms and two.arms):
            continue
        common = set(one.arms) & set(two.arms)
        if len({whole.vertex, one.vertex, two.vertex}) == 1 and len(common) == 1:
            if set(one.arms) ^ set(two.arms) == set(whole.arms):
                (m,) = common
                yield held(_inside(board, whole.vertex, m, *whole.arms))


def _inside(board: Board, v: str, m: str, a: str, b: str) -> Look:
    """May the ray vm lie inside the angle of va and vb?"""
    if not board.points:
        return Look(1, (f"the ray {v}{m} lies inside ∠{a}{v}{b}",))
    turn = board.side(b, v, a)
    return YES if board.side(m, v, a) == turn != 0 and board.side(m, v, b) == -turn else NO


def bisector(board: Board, statement: Statement) -> Iterator[Support]:
    """The halves of an angle with a given bisector."""
    pair = _angles(statement)
    if not pair or not (pair[0].arms and pair[1].arms):
        return
    for index, given in board.givens:
        if given.kind != "bisects" or not given.elements[1].arms:
            continue
        line, whole = given.elements
        v = whole.vertex
        if v in line.points:
            (d,) = set(line.points) - {v}
            a, b = whole.arms or ("", "")
            for x, y in (pair, pair[::-1]):
                yield held(both(board.names(x, v, a, d), board.names(y, v, b, d)), index)


def _side(board: Board, one: Element, line: Element) -> Look:
    """May a segment be a side along a given line?"""
    if set(one.points) == set(line.points):
        return YES
    if not set(one.points) & set(line.points):
        return NO
    look = both(*(board.on(p, line) for p in one.points))
    return look if board.points else Look(min(look.level, 1), look.assumes)


def _pair_along(board: Board, s: Element, t: Element, one: Element, two: Element) -> Look:
    return best(
        (both(_side(board, s, one), _side(board, t, two)),
         both(_side(board, s, two), _side(board, t, one)))
    )  # fmt: skip


def parallelogram_sides(board: Board, statement: Statement) -> Iterator[Support]:
    """Opposite sides of the quadrilateral that two pairs of parallels bound."""
    s, t = statement.left[0], statement.right[0]
    if statement.relation != "congruent" or s.kind != "segment":  # type: ignore[union-attr]
        return
    (a, b), (c, d) = s.points, t.points  # type: ignore[union-attr]
    if len({a, b, c, d}) < 4:
        return
    joins = [
        (Element("segment", (a, c)), Element("segment", (b, d))),
        (Element("segment", (a, d)), Element("segment", (b, c))),
    ]
    for one, two, first in board.parallels:
        look = _pair_along(board, s, t, one, two)  # type: ignore[arg-type]
        if look.level:
            for three, four, second in board.parallels:
                if second != first:
                    for join in joins:
                        yield held(
                            both(look, _pair_along(board, *join, three, four)), first, second
                        )

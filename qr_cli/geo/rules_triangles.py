"""Rules about triangles: congruence, similarity, their parts, isosceles and equilateral ones.

Vertex i of the first triangle corresponds to vertex i of the second; i + 1 and i + 2 are modulo 3.
"""

from __future__ import annotations

from collections.abc import Iterator

from qr_cli.geo.board import Board, both, sides
from qr_cli.geo.proof import Element, Statement, canonical, normal, segment
from qr_cli.geo.support import NOTHING, Support, all_of, held, strongest

_TURNS = ((0, 1, 2), (1, 2, 0), (2, 0, 1))


def _pair(
    statement: Statement, kind: str, relation: str = "congruent"
) -> tuple[Element, Element] | None:
    """Return both sides of a relation of two elements of a kind."""
    one, two = statement.left[0], statement.right[0]
    if statement.relation != relation or not isinstance(one, Element) or one.kind != kind:
        return None
    return one, two  # type: ignore[return-value]


def side_fact(board: Board, one: Element, two: Element) -> Support:
    """Return why two segments are equal: a fact, or one segment that was said to equal itself."""
    equal = board.equal_segments.get((one, two))
    return Support(2, equal.uses) if equal else NOTHING


def angle_fact(board: Board, one: Element, two: Element, i: int) -> Support:
    """Return why the angles at vertex i of two triangles are equal."""
    v, a, b = (one.points[j] for j in _TURNS[i])
    w, c, d = (two.points[j] for j in _TURNS[i])
    return strongest(
        held(both(board.names(e.one, v, a, b), board.names(e.two, w, c, d)), *e.uses)
        for e in board.equal_angles.get((v, w), ())
    )


def _parts(
    board: Board, statement: Statement, relation: str = "congruent"
) -> tuple[list[Support], list[Support]] | None:
    """Return the supports of the three sides and the three angles of two triangles."""
    pair = _pair(statement, "triangle", relation)
    if pair is None:
        return None
    one, two = pair
    equal_sides = [side_fact(board, s, t) for s, t in zip(sides(one), sides(two), strict=True)]
    return equal_sides, [angle_fact(board, one, two, i) for i in range(3)]


def sss(board: Board, statement: Statement) -> Iterator[Support]:
    """Three sides."""
    if parts := _parts(board, statement):
        yield all_of(*parts[0])


def sas(board: Board, statement: Statement) -> Iterator[Support]:
    """An angle and the two sides next to it, which lie opposite the other vertices."""
    if parts := _parts(board, statement):
        s, a = parts
        yield from (all_of(a[i], s[j], s[k]) for i, j, k in _TURNS)


def asa(board: Board, statement: Statement) -> Iterator[Support]:
    """A side and the angles at its ends."""
    if parts := _parts(board, statement):
        s, a = parts
        yield from (all_of(s[i], a[j], a[k]) for i, j, k in _TURNS)


def aas(board: Board, statement: Statement) -> Iterator[Support]:
    """Two angles and the side opposite one of them."""
    if parts := _parts(board, statement):
        s, a = parts
        yield from (all_of(a[i], a[j], s[i]) for i in range(3) for j in range(3) if i != j)


def angle_angle(board: Board, statement: Statement) -> Iterator[Support]:
    """Similar: two angles."""
    if parts := _parts(board, statement, "similar"):
        a = parts[1]
        yield from (all_of(a[i], a[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def sas_similar(board: Board, statement: Statement) -> Iterator[Support]:
    """Similar: a proportion of the sides next to a vertex, and the angle there."""
    pair = _pair(statement, "triangle", "similar")
    if pair is None:
        return
    one, two = pair
    s, t = sides(one), sides(two)
    for i, j, k in _TURNS:
        ratio = canonical(Statement("ratio", (s[j], t[j]), (s[k], t[k])))
        if ratio in board.known:
            yield all_of(Support(2, (board.known[ratio],)), angle_fact(board, one, two, i))


def congruent_parts(board: Board, statement: Statement) -> Iterator[Support]:
    """Sides and angles of congruent triangles."""
    for one, two, index in board.congruent:
        yield from _sides_of(statement, one, two, index)
        yield from _angles_of(board, statement, one, two, index)


def similar_parts(board: Board, statement: Statement) -> Iterator[Support]:
    """Angles of similar triangles, and proportions of two pairs of their sides."""
    for one, two, index in board.similar:
        yield from _angles_of(board, statement, one, two, index)
        if statement.relation == "ratio":
            s, t = sides(one), sides(two)
            for i, j in ((0, 1), (0, 2), (1, 2)):
                if canonical(statement) == canonical(
                    Statement("ratio", (s[i], t[i]), (s[j], t[j]))
                ):
                    yield Support(2, (index,))


def _sides_of(statement: Statement, one: Element, two: Element, index: int) -> Iterator[Support]:
    if pair := _pair(statement, "segment"):
        wanted = {normal(pair[0]), normal(pair[1])}
        for s, t in zip(sides(one), sides(two), strict=True):
            if {s, t} == wanted:
                yield Support(2, (index,))


def _angles_of(
    board: Board, statement: Statement, one: Element, two: Element, index: int
) -> Iterator[Support]:
    pair = _pair(statement, "angle")
    if pair is None:
        return
    for x, y in (pair, pair[::-1]):
        for i, j, k in _TURNS:
            if one.points[i] == x.vertex and two.points[i] == y.vertex:
                yield held(
                    both(
                        board.names(x, x.vertex, one.points[j], one.points[k]),
                        board.names(y, y.vertex, two.points[j], two.points[k]),
                    ),
                    index,
                )


def isosceles(board: Board, statement: Statement) -> Iterator[Support]:
    """Equal sides lie opposite equal angles, and the reverse."""
    if pair := _pair(statement, "angle"):
        for equal in board.equals:
            if equal.one.kind == "segment":
                yield from _base_angles(board, *pair, equal.one, equal.two, equal.uses)
    elif pair := _pair(statement, "segment") or _pair(statement, "segment", "equal"):
        if len(statement.left) == len(statement.right) == 1:
            yield from _equal_sides(board, *pair)


def _base_angles(
    board: Board, x: Element, y: Element, s: Element, t: Element, uses: tuple[int, ...]
) -> Iterator[Support]:
    common = set(s.points) & set(t.points)
    if len(common) != 1:
        return
    (c,) = common
    (e,), (f,) = set(s.points) - common, set(t.points) - common
    for u, w in ((x, y), (y, x)):
        yield held(both(board.names(u, e, c, f), board.names(w, f, c, e)), *uses)


def _equal_sides(board: Board, s: Element, t: Element) -> Iterator[Support]:
    common = set(s.points) & set(t.points)
    if len(common) != 1:
        return
    (c,) = common
    (e,), (f,) = set(s.points) - common, set(t.points) - common
    for equal in board.equal_angles.get((e, f), ()):
        look = both(board.names(equal.one, e, c, f), board.names(equal.two, f, c, e))
        yield held(look, *equal.uses)


def equilateral(board: Board, statement: Statement) -> Iterator[Support]:
    """Two sides of an equilateral triangle."""
    if pair := _pair(statement, "segment"):
        one, two = map(normal, pair)
        for index, given in board.givens:
            if given.kind == "equilateral" and one != two:
                if {one, two} <= set(sides(given.elements[0])):
                    yield Support(2, (index,))


def midpoint(board: Board, statement: Statement) -> Iterator[Support]:
    """The halves of a segment with a given midpoint."""
    if pair := _pair(statement, "segment"):
        for index, given in board.givens:
            if given.kind == "midpoint":
                (m,), (a, b) = given.elements[0].points, given.elements[1].points
                if set(map(normal, pair)) == {segment(m, a), segment(m, b)}:
                    yield Support(2, (index,))


def reflexivity(board: Board, statement: Statement) -> Iterator[Support]:
    """The same element twice."""
    one, two = statement.left[0], statement.right[0]
    if statement.relation == "congruent" and normal(one) == normal(two):  # type: ignore[arg-type]
        yield Support(2)

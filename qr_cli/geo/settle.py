"""What can be said only when the whole text was read: arms of one-letter angles, conventions."""

from __future__ import annotations

from qr_cli.geo.reading import Asked, Condition, Quantity, Reading, Term

_ANGLES = ("angle", "sin", "cos", "tan")


def settle(reading: Reading) -> None:
    """Complete a reading in place."""
    _name_circle(reading)
    _touching(reading)
    _pending(reading)
    _bisectors(reading)
    _ends(reading)
    _diagonals(reading)
    _apex(reading)
    _triangle_convention(reading)
    _radii(reading)
    reading.conditions = [
        c._replace(terms=_terms(reading, c.terms)) if c.terms else c
        for c in list(reading.conditions)
    ]
    reading.conditions = [c for c in reading.conditions if not any(map(_vague, c.terms))]
    if reading.asked:
        asked = Asked(_terms(reading, reading.asked.terms), _terms(reading, reading.asked.over))
        reading.asked = None if any(map(_vague, asked.terms + asked.over)) else asked
    for shape in reading.polygons:
        if len(shape) == 3:
            reading.add("proper", *shape, text=f"△{''.join(shape)}")
    _soft_directions(reading)


def _name_circle(reading: Reading) -> None:
    """Take O as the centre of a circle that was given none, where the text speaks of O."""
    if reading.circles != ["⊙"]:
        return
    spoken = {p for pair in reading.drawn for p in pair} | {
        p for c in reading.conditions for p in c.points
    }
    spoken |= {
        p for c in reading.conditions for t in c.terms if t.quantity for p in t.quantity.points
    }
    if "O" in spoken:
        reading.circles = ["O"]
        reading.assumed.append("O is the centre of the circle")
        reading.conditions = [_renamed(c) for c in reading.conditions]


def _renamed(condition: Condition) -> Condition:
    def new(points: tuple[str, ...]) -> tuple[str, ...]:
        return tuple("O" if p == "⊙" else p for p in points)

    terms = tuple(
        Term(f, Quantity(q.kind, new(q.points)) if q else None) for f, q in condition.terms
    )
    return condition._replace(points=new(condition.points), terms=terms)


def _touching(reading: Reading) -> None:
    """A tangent with one end on its circle touches there."""
    for i, c in enumerate(reading.conditions):
        if c.kind == "tangent":
            a, b, o = c.points
            known = [p for p in (a, b) if p in reading.on_circle(o)]
            if len(known) == 1:
                other = b if known[0] == a else a
                reading.conditions[i] = c._replace(kind="tangent at", points=(known[0], other, o))


def _pending(reading: Reading) -> None:
    for kind, corners, text in reading.pending:
        if kind == "right":
            _right(reading, corners, text)
        elif kind == "isosceles" and not _says_isosceles(reading, corners):
            reading.not_understood.append(f"{text} (which sides are equal?)")
        elif kind == "trapezoid":
            a, b, c, d = corners
            if not any(
                c_.kind == "parallel" and set(c_.points) == set(corners)
                for c_ in reading.conditions
            ):
                reading.add("parallel", a, d, b, c, text=text)
                reading.assumed.append(f"the parallel sides are {a}{d} and {b}{c}")
        elif kind == "isosceles trapezoid":
            a, b, c, d = corners
            ad = any(
                x.kind == "parallel" and set(x.points[:2]) in ({a, d}, {b, c})
                for x in reading.conditions
            )
            legs = ((a, b), (c, d)) if ad else ((a, d), (b, c))
            reading.equal(
                *(Term(s, Quantity("length", x)) for s, x in zip((1, -1), legs, strict=True)),
                text=text,
            )


def _right(reading: Reading, corners: tuple[str, ...], text: str) -> None:
    """A right triangle needs to know where; the text often says so elsewhere."""
    for c in reading.conditions:
        if c.kind == "perpendicular" and len(set(c.points) & set(corners)) == 3 == len(
            set(c.points)
        ):
            return
        if c.kind == "linear" and len(c.terms) == 2 and c.terms[1].quantity is None:
            q, value = c.terms[0].quantity, -c.terms[1].factor
            if q and q.kind == "angle" and value == 90 and q.points[len(q.points) // 2] in corners:
                return
    reading.not_understood.append(f"{text} (where is the right angle?)")


def _says_isosceles(reading: Reading, corners: tuple[str, ...]) -> bool:
    sides = [
        {
            q
            for t in c.terms
            if t.quantity and t.quantity.kind == "length"
            for q in t.quantity.points
        }
        for c in reading.conditions
        if c.kind == "linear" and len(c.terms) == 2 and all(t.quantity for t in c.terms)
    ]
    return any(side == set(corners) for side in sides)


def _triangle_convention(reading: Reading) -> None:
    """DE ∥ BC in a triangle ABC, with D and E free, puts D on AB and E on AC."""
    placed = _placed(reading) - {p for shape in reading.polygons for p in shape}
    shaped = {p for corners in reading.polygons for p in corners}
    for c in list(reading.conditions):
        if c.kind != "parallel":
            continue
        for d, e, b, g in (c.points, c.points[2:] + c.points[:2]):
            for corners in reading.polygons:
                if len(corners) != 3 or not {b, g} < set(corners) or {d, e} & shaped:
                    continue
                (a,) = set(corners) - {b, g}
                for p, end in ((d, b), (e, g)):
                    if p not in placed:
                        reading.add("between", p, a, end, text=f"{p} lies on {a}{end}")
                        reading.assumed.append(f"{p} lies on {a}{end}")


_PLACING = ("between", "midpoint", "beyond", "on line", "on circle", "tangent at", "arc midpoint")


def _placed(reading: Reading) -> set[str]:
    """Return the points of which it is said where they are."""
    placed = {c.points[0] for c in reading.conditions if c.kind in _PLACING}
    placed |= {p for c in reading.conditions if c.kind.startswith("tangent") for p in c.points}
    placed |= {p for c in reading.conditions if c.kind == "collinear" for p in c.points}
    return placed | {p for shape in reading.polygons for p in shape}


def _radii(reading: Reading) -> None:
    """A point of which nothing is said but lines or angles to it lies on the only circle."""
    if len(reading.circles) != 1:
        return
    o = reading.circles[0]
    placed = _placed(reading)
    spoken = {p for c in reading.conditions for p in c.points}
    for p in dict.fromkeys(p for pair in reading.drawn for p in pair):
        radius = (o, p) in reading.drawn or (p, o) in reading.drawn
        if p != o and p not in placed and (radius or p not in spoken):
            reading.add("on circle", p, o, text=f"{p} lies on ⊙{o}")
            reading.assumed.append(f"{p} lies on ⊙{o}")


def _diagonals(reading: Reading) -> None:
    """O, of which nothing else is said, is where the diagonals of the only quadrilateral meet."""
    shapes = [s for s in reading.polygons if len(s) == 4]
    drawn = {p for pair in reading.drawn for p in pair}
    if len(shapes) == 1 and "O" in drawn - _placed(reading) and not reading.circles:
        a, b, c, d = shapes[0]
        reading.add("between", "O", a, c, text=f"{a}{c} and {b}{d} meet at O")
        reading.add("between", "O", b, d, text=f"{a}{c} and {b}{d} meet at O")
        reading.assumed.append(f"{a}{c} and {b}{d} meet at O")


def _ends(reading: Reading) -> None:
    """A bisector in a triangle ends on the opposite side, unless it is said where."""
    placed = _placed(reading)
    for c in list(reading.conditions):
        if c.kind != "bisects" or len(c.points) != 4 or c.points[1] in placed:
            continue
        v, d, a, b = c.points
        if any({v, a, b} == set(s) for s in reading.polygons):
            reading.add("between", d, a, b, text=f"{d} lies on {a}{b}")
            reading.assumed.append(f"{d} lies on {a}{b}")
            continue
        for shape in reading.polygons:
            if len(shape) == 4 and v in shape:
                x = shape[(shape.index(v) + 2) % 4]
                joined = [p for p in (a, b) if {(p, d), (d, p)} & set(reading.drawn)]
                side = joined[0] if len(joined) == 1 else shape[(shape.index(v) + 1) % 4]
                if side not in (a, b):
                    side = ""
                if side:
                    reading.add("between", d, side, x, text=f"{d} lies on {side}{x}")
                    reading.assumed.append(f"{d} lies on {side}{x}")


def _apex(reading: Reading) -> None:
    """DE ∥ BC with AD and DB drawn, but no triangle named: A is its third corner."""
    shaped = {p for s in reading.polygons for p in s}
    for c in reading.conditions:
        if c.kind == "parallel" and not set(c.points) & (shaped | _placed(reading)):
            for d, e, b, g in (c.points, c.points[2:] + c.points[:2]):
                joined = {
                    (x if y == p else y): p for x, y in reading.drawn for p in (d, e) if p in (x, y)
                }
                tops = [p for p in joined if p not in c.points]
                onward = {(d, b), (b, d), (e, g), (g, e)} & set(reading.drawn)
                if (
                    len(tops) == 1
                    and tops[0] not in _placed(reading)
                    and (onward or {(tops[0], b), (b, tops[0])} & set(reading.drawn))
                ):
                    reading.polygon((tops[0], b, g))
                    return


def _vague(term: Term) -> bool:
    """Tell whether a term is an angle whose arms were not found."""
    q = term.quantity
    return q is not None and q.kind in _ANGLES and len(q.points) == 1


def _terms(reading: Reading, terms: tuple[Term, ...]) -> tuple[Term, ...]:
    return tuple(Term(f, _quantity(reading, q) if q else None) for f, q in terms)


def _quantity(reading: Reading, q: Quantity) -> Quantity:
    if q.kind in _ANGLES and len(q.points) == 1:
        return Quantity(q.kind, _arms(reading, q.points[0]))
    if q.kind == "arc":
        o = reading.circle()
        for p in q.points:
            reading.add("on circle", p, o, text=f"{p} lies on ⊙{o}")
        return Quantity("angle", (q.points[0], o, q.points[1]))
    if q.kind in ("radius", "diameter") and q.points == ("⊙",) and reading.circles:
        return Quantity(q.kind, (reading.circles[0],))
    if q.kind == "distance" and len(q.points) == 1:
        shape = next((s for s in reading.polygons if q.points[0] in s and len(s) == 3), None)
        if shape:
            return Quantity(q.kind, (*q.points, *(p for p in shape if p != q.points[0])))
        reading.not_understood.append(f"the height from {q.points[0]}")
    return q


def _bisectors(reading: Reading) -> None:
    for i, c in enumerate(reading.conditions):
        if c.kind == "bisects" and len(c.points) == 2:
            v, d = c.points
            arms = _arms(reading, v, without=d)
            if len(arms) == 3:
                reading.conditions[i] = c._replace(points=(v, d, arms[0], arms[2]))
            else:
                reading.not_understood.append(c.text)
    reading.conditions = [
        c for c in reading.conditions if c.kind != "bisects" or len(c.points) == 4
    ]


def _arms(reading: Reading, v: str, *, without: str = "") -> tuple[str, ...]:
    """Return an angle of one letter with its arms: of its polygon, else of the two drawn lines."""
    for shape in reading.polygons:
        if v in shape:
            i = shape.index(v)
            return shape[i - 1], v, shape[(i + 1) % len(shape)]
    ends = [b if a == v else a for a, b in reading.drawn if v in (a, b)]
    ends = [e for e in dict.fromkeys(ends) if e != without]
    ends = _rays(reading, v, ends)
    if len(ends) < 2:
        ends = _rays(reading, v, [*ends, *_third_sides(reading, v, ends)])
    if len(ends) < 2:
        ends = _rays(reading, v, [*ends, *_fellows(reading, v, ends)])
    if len(ends) == 2:
        return ends[0], v, ends[1]
    reading.not_understood.append(f"∠{v} (its arms are not clear)")
    return (v,)


def _third_sides(reading: Reading, v: str, ends: list[str]) -> list[str]:
    """Return where the third side of a triangle goes whose other two are said to be equal."""
    found = []
    for c in reading.conditions:
        pairs = [t.quantity.points for t in c.terms if t.quantity and t.quantity.kind == "length"]
        if len(pairs) == 2 and len(c.terms) == 2 and len(set(pairs[0]) & set(pairs[1])) == 1:
            outer = set(pairs[0]) ^ set(pairs[1])
            if v in outer:
                (other,) = outer - {v}
                found.append(other)
    found = [p for p in dict.fromkeys(found) if p not in ends]
    reading.assumed += [f"{v} and {p} are joined" for p in found]
    return found


def _fellows(reading: Reading, v: str, ends: list[str]) -> list[str]:
    """Return the only other points on the circle of v, which the figure then joins to it."""
    for o in reading.circles:
        points = reading.on_circle(o)
        if v in points:
            others = [p for p in points if p != v and p not in ends]
            others = [p for p in others if len(_rays(reading, v, [*ends, p])) > len(ends)]
            if len(others) == 2 - len(ends):
                reading.assumed += [f"{v} and {p} are joined" for p in others]
                return others
    return []


def _rays(reading: Reading, v: str, ends: list[str]) -> list[str]:
    """Return one point per ray from v: of points known to lie on one line, the farthest."""
    kept = list(ends)
    for c in reading.conditions:
        if c.kind in ("between", "midpoint"):
            p, a, b = c.points
            if v in (a, b):
                far = b if v == a else a
                if p in kept and far in kept:
                    kept.remove(p)
        if c.kind == "beyond":
            p, a, b = c.points
            if v == a and b in kept and p in kept:
                kept.remove(b)
            if v == p and a in kept and b in kept:
                kept.remove(b)
    return kept


def _soft_directions(reading: Reading) -> None:
    """Parallel lines named AB and CD usually point the same way, unless they bound a polygon."""
    for c in reading.conditions:
        if c.kind != "parallel":
            continue
        ends = set(c.points)
        if len(ends) == 4 and not any(len(ends & set(s)) >= 3 for s in reading.polygons):
            text = f"{''.join(c.points[:2])} and {''.join(c.points[2:])} point the same way"
            reading.soft.append(Condition("same way", c.points, text))

"""Damage to bytes, drawn from a seed: the same seed gives the same bytes everywhere."""

from __future__ import annotations

import random

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
WORDS = (0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**40, 2**62, 2**64 - 1)


def mutated(whole: bytes, other: bytes, seed: int) -> bytes:
    """Return `whole` after one to three kinds of damage; `other` is what is spliced into it."""
    draw = random.Random(seed)
    found = bytearray(whole)
    for _ in range(draw.randint(1, 3)):
        if not found:
            return bytes(found)
        DAMAGE[draw.randrange(len(DAMAGE))](found, other, draw)
    return bytes(found)


def flip(found: bytearray, other: bytes, draw: random.Random) -> None:
    """Change a few bits."""
    for _ in range(draw.randint(1, 4)):
        found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)


def overwrite(found: bytearray, other: bytes, draw: random.Random) -> None:
    """Set a few bytes."""
    for _ in range(draw.randint(1, 4)):
        value = draw.choice((*INTERESTING, draw.randrange(256)))
        found[draw.randrange(len(found))] = value


def truncate(found: bytearray, other: bytes, draw: random.Random) -> None:
    """Cut the end off."""
    del found[draw.randrange(len(found)) :]


def delete(found: bytearray, other: bytes, draw: random.Random) -> None:
    """Take a piece out."""
    at = draw.randrange(len(found))
    del found[at : at + draw.randint(1, 40)]


def insert(found: bytearray, other: bytes, draw: random.Random) -> None:
    """Put a piece in: noise, or a copy of another place."""
    at, size = draw.randrange(len(found)), draw.randint(1, 40)
    start = draw.randrange(len(found))
    found[at:at] = draw.choice((draw.randbytes(size), bytes(found[start : start + size])))


def swap(found: bytearray, other: bytes, draw: random.Random) -> None:
    """Exchange two blocks."""
    size = draw.randint(1, max(1, len(found) // 4))
    one, two = (draw.randrange(max(1, len(found) - size)) for _ in range(2))
    first, second = bytes(found[one : one + size]), bytes(found[two : two + size])
    found[one : one + size], found[two : two + size] = second, first


def grow(found: bytearray, other: bytes, draw: random.Random) -> None:
    """Make what may be a length larger: a word of 1 to 8 bytes, or a number in text."""
    digits = [i for i, byte in enumerate(found) if 0x30 <= byte <= 0x39]
    if digits and draw.random() < 0.4:
        at = draw.choice(digits)
        found[at : at + 1] = draw.choice((b"999999999", b"1e999", b"-1", b"0", b"9" * 30, b"NaN"))
        return
    size, order = draw.choice((1, 2, 4, 8)), draw.choice(("little", "big"))
    at = draw.randrange(len(found))
    word = draw.choice(WORDS) % 2 ** (8 * size)
    found[at : at + size] = word.to_bytes(size, order)


def splice(found: bytearray, other: bytes, draw: random.Random) -> None:
    """Go on with another file of the kind."""
    at = draw.randrange(len(found))
    found[at:] = other[draw.randrange(len(other)) if other else 0 :]


DAMAGE = (flip, overwrite, truncate, delete, insert, swap, grow, grow, splice)

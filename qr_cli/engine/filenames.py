"""File names made from what inputs call things: never a path, never too long, never two alike."""

from __future__ import annotations

import hashlib
import re

LONGEST = 100  # letters
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # on Windows


def file_name(text: str) -> str:
    """Return a name without folders for an id of any letters.

    Letters, digits, dot, dash and underscore stay; anything else becomes a dash. Where that changes
    the id, eight digits of its hash follow, so that two ids never share a file.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:LONGEST]
    if name and name == text and not _RESERVED.fullmatch(name):
        return name
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{name}-{digest}".strip("-")

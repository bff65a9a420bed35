"""Sets of prompts to evaluate with: the tiny world's, 30 plain sentences, one's own.

A row is ``{"id", "category", "text", "prompt"?, "label"?, "question"?, "answer"?}``: a narrative,
the keywords that mean the same, and what a judge needs. Without keywords only the conditions that
draw the narrative are run.
The 30 sentences are ours, in the categories of the paper; results are not comparable with its.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qr_cli.engine.damage import damaged
from qr_cli.errors import DataError, UsageError, near
from qr_cli.generate.names import SUITES
from qr_cli.generate.world import Split, surd_rows

Row = dict[str, Any]
_NEEDED = ("id", "category", "text")


def load_suite(name: str) -> list[Row]:
    """Return the rows of a suite: a name, ``name:ARGUMENT``, or a JSONL file.

    Raises:
        UsageError: there is no such suite.
        DataError: a file or folder cannot be used.
    """
    kind, _, argument = name.partition(":")
    if name in SUITES:
        if name == "dpg":
            raise UsageError("--suite: dpg needs a folder", hint="--suite dpg:FOLDER")
        return list(SUITES.load(name)())
    if kind in SUITES and argument:
        make: Callable[[str], list[Row]] = SUITES.load(kind)
        return make(argument)
    if Path(name).is_file():
        return _read(Path(name))
    raise UsageError(
        f"--suite: unknown suite {name!r}{near(name, SUITES)}", hint="qr list generate"
    )


def seen() -> list[Row]:
    """Return 240 narratives that the adapter was trained on."""
    return _tiny("seen")


def recombined() -> list[Row]:
    """Return 480 narratives over pairs of phrases that were never trained together."""
    return _tiny("recombined")


def unseen() -> list[Row]:
    """Return 480 narratives of phrases that were never trained."""
    return _tiny("unseen")


def _tiny(split: Split) -> list[Row]:
    keys = ("id", "category", "text", "prompt", "label")
    return [{key: row[key] for key in keys} for row in surd_rows(split)]


def text_files(folder: str) -> list[Row]:
    """Return the prompts of a folder of .txt files (the layout of DPG-Bench), by file name."""
    paths = sorted(Path(folder).glob("*.txt"))
    if not paths:
        raise DataError(f"--suite: {folder} holds no .txt file", hint="--suite dpg:FOLDER")
    rows = []
    for path in paths:
        with damaged(path):
            text = " ".join(path.read_text("utf-8").split())
        rows.append({"id": path.stem, "category": "dpg", "text": text})
    return rows


def plain30() -> list[Row]:
    """Return 30 plain sentences, each with keywords, a question and its answer."""
    rows = []
    for category, lines in _PLAIN.items():
        for number, line in enumerate(lines):
            text, prompt, question, answer = line.split(" | ")
            rows.append(
                {
                    "id": f"{category}-{number}",
                    "category": category,
                    "text": text,
                    "prompt": prompt,
                    "question": question,
                    "answer": answer,
                }
            )
    return rows


def _read(path: Path) -> list[Row]:
    rows: list[Row] = []
    with damaged(f"--suite: {path}"):
        lines = path.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number}: not JSON: {error}") from error
        lacking = [key for key in _NEEDED if not isinstance(row, dict) or not row.get(key)]
        if lacking:
            raise DataError(
                f"{path}, line {number}: no {', '.join(lacking)}",
                hint='{"id": "1", "category": "color", "text": "a boat as yellow as a lemon"}',
            )
        rows.append(row)
    if not rows:
        raise DataError(f"--suite: {path} holds no row")
    if any("prompt" in row for row in rows) and not all(row.get("prompt") for row in rows):
        raise DataError(f"--suite: {path}: some rows have a prompt, some have none")
    return rows


_PLAIN = {
    "color": (
        "a bicycle painted like fresh snow leans on a wall | white bicycle, brick wall"
        " | what color is the bicycle? | white",
        "a teapot as dark as coal stands on a table | black teapot, wooden table"
        " | what color is the teapot? | black",
        "a boat with the tint of a lemon floats on a lake | yellow boat, lake"
        " | what color is the boat? | yellow",
        "an umbrella the shade of ripe tomatoes in the rain | red umbrella, rain"
        " | what color is the umbrella? | red",
        "a house whose walls look like the clear sky | blue house"
        " | what color is the house? | blue",
        "a car in the hue of spring leaves on a road | green car, road"
        " | what color is the car? | green",
        "a vase coloured like lavender with flowers | purple vase, flowers"
        " | what color is the vase? | purple",
        "a sofa that matches the peel of a tangerine | orange sofa"
        " | what color is the sofa? | orange",
        "a pair of shoes with the tone of milk chocolate | brown shoes"
        " | what color are the shoes? | brown",
        "a balloon like the feathers of a flamingo | pink balloon"
        " | what color is the balloon? | pink",
    ),
    "counting": (
        "as many apples as a bicycle has wheels lie on a plate | two apples, plate"
        " | how many apples are there? | 2",
        "there are enough chairs for a trio in the room | three chairs, room"
        " | how many chairs are there? | 3",
        "a plate with one cookie for every season | four cookies, plate"
        " | how many cookies are there? | 4",
        "candles on a cake, one for each finger of a hand | five candles, cake"
        " | how many candles are there? | 5",
        "half a dozen eggs in a nest | six eggs, nest | how many eggs are there? | 6",
        "a lonely tree on a hill, no other tree around | one tree, hill"
        " | how many trees are there? | 1",
        "twins are walking on the beach | two people, beach | how many people are there? | 2",
        "birds on a wire, as many as a traffic light has lamps | three birds, wire"
        " | how many birds are there? | 3",
        "a dog for every corner of a square room | four dogs, room | how many dogs are there? | 4",
        "cups on a shelf, one for each ring of the olympic flag | five cups, shelf"
        " | how many cups are there? | 5",
    ),
    "action": (
        "a girl moves through the water with her arms | girl swimming, pool"
        " | what is the girl doing? | swimming",
        "a man uses his legs as fast as he can on a track | man running, track"
        " | what is the man doing? | running",
        "a boy is putting his spoon into his mouth | boy eating, spoon"
        " | what is the boy doing? | eating",
        "a woman holds a pen above a letter | woman writing, letter"
        " | what is the woman doing? | writing",
        "a dog leaves the ground to get over a fence | dog jumping, fence"
        " | what is the dog doing? | jumping",
        "an old man has closed eyes in his bed at night | old man sleeping, bed"
        " | what is the man doing? | sleeping",
        "a child turns the pages of a book | child reading, book"
        " | what is the child doing? | reading",
        "a couple moves to the music on a floor | couple dancing, ballroom"
        " | what is the couple doing? | dancing",
        "a cook stands at the stove with a pan | cook cooking, pan"
        " | what is the cook doing? | cooking",
        "a woman holds the wheel of a car | woman driving, car"
        " | what is the woman doing? | driving",
    ),
}

"""What the commands of the table read: small, generated, made once."""

import json
import pickle
import random

import numpy as np
from PIL import Image

WORDS = ("late", "broken", "thanks", "great", "order", "parcel", "please", "where")
PROBLEMS = (
    {"id": "a", "text": "In triangle ABC, AB = AC and angle A = 50°. Find angle B."},
    {"id": "b", "text": "In triangle ABC, angle A = 40° and angle B = 60°. Find angle C."},
)
PROMPTS = ("a number for the legs of a spider in the same colour as milk", "two like the sky")


def make(folder):
    """Write every input into a folder."""
    folder.mkdir()
    lines(folder / "problems.jsonl", PROBLEMS)
    lines(folder / "dialogues.jsonl", [dialogue(number) for number in range(16)])
    lines(folder / "prompts.jsonl", [{"id": str(i), "prompt": p} for i, p in enumerate(PROMPTS)])
    suite = {"id": "1", "category": "x", "text": PROMPTS[0], "prompt": "white digit eight",
             "label": {"digit": 8, "tint": "white"}}  # fmt: skip
    lines(folder / "suite.jsonl", [suite])
    (folder / "wavelengths.txt").write_text("450\n550\n650\n", "utf-8")
    cube(folder / "cube.npz")
    surd(folder / "surd" / "train")
    geometry = {
        "id": 11, "image": np.full((4, 5), 200, dtype=np.uint8), "subject": "x",
        "token_list": ["angle"], "English_problem": "angle A = N_0 , find angle B .",
        "numbers": [6.0], "answer": 3.0, "label": 2, "choice_nums": [1.0, 2.0, 3.0, 4.0],
        "choices": ["1", "2", "3", "4"], "manual_program": ["g_half", "N_0"],
    }  # fmt: skip
    (folder / "calculation_train.pk").write_bytes(pickle.dumps([geometry]))
    chat = (
        [[np.array([5, 6, 0]), np.array([7, 0, 0])]], [[0, 1]], np.full((1, 30, 3), 0.5),
        [[np.array([1, 2, 0]), np.array([3, 0, 0])]], [[0, 0]], [[2, 1]], [2], [[0, 1]],
    )  # fmt: skip
    (folder / "chat.pkl").write_bytes(b"".join(pickle.dumps(part, protocol=4) for part in chat))


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def dialogue(number):
    draw = random.Random(number)
    turns = [
        {"role": ("customer", "agent")[turn % 2], "text": " ".join(draw.choices(WORDS, k=4)),
         "handoff": int(draw.random() < 0.4), "sentiment": draw.randrange(3)}
        for turn in range(6)
    ]  # fmt: skip
    return {"session_id": f"s{number}", "lang": "en", "utterances": turns}


def cube(path):
    draw = np.random.default_rng(0)
    weights = draw.random((8, 8, 3)).repeat(4, 0).repeat(4, 1)
    values = weights @ draw.random((3, 20)) + 0.05 * draw.random((32, 32, 1))
    np.savez(path, cube=values, wavelength_nm=np.linspace(420, 880, 20))


def surd(folder):
    folder.mkdir(parents=True)
    tints, digits = ("white", "red", "blue"), ("three", "five", "eight", "nine")
    rows = []
    for number in range(12):
        name = f"{number:02d}.png"
        Image.new("RGB", (16, 16), (20 * number, 90, 40)).save(folder / name)
        tint, digit = tints[number % 3], digits[number % 4]
        rows.append({
            "file_name": name, "text": f"a {digit} as {tint} as can be, number {number}",
            "prompt": f"{tint} digit {digit}", "split": "val" if number < 3 else "train",
        })  # fmt: skip
    lines(folder / "metadata.jsonl", rows)

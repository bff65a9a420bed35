"""Items that ranks share: each is worked on once, every rank yields all answers in order."""

import json
import subprocess
import sys

import pytest
from processes import environment, free_port, rank

from qr_cli.engine.sharing import in_turns, told

RANK = """
import json, os
from pathlib import Path
from qr_cli.engine.sharing import in_turns, told
items = told(lambda: [int(n) for n in Path("items").read_text().split()], "auto")
os.environ["RANK"] == "0" and Path("items").write_text("read once")
def work(item):
    with open(f"worked-{os.environ['RANK']}", "a") as file:
        file.write(f"{item} ")
    return [item, 10 * item]
print(json.dumps(list(in_turns(items, work, "auto"))))
"""


def test_one_process_iterates():
    assert told(lambda: [1, 2], "cpu") == [1, 2]
    assert list(in_turns([1, 2], lambda item: [item, -item], "cpu")) == [1, -1, 2, -2]


@pytest.mark.slow
def test_two_ranks_take_turns_also_where_no_device_is_named(tmp_path):
    (tmp_path / "items").write_text("1 2 3 4 5")
    port = free_port()
    ranks = []
    for number in range(2):
        own = environment(**rank(number, 2, port))
        ranks.append(
            subprocess.Popen([sys.executable, "-c", RANK], env=own, stdout=subprocess.PIPE)
        )
    found = [json.loads(rank.communicate(timeout=100)[0]) for rank in ranks]
    assert found == [[1, 10, 2, 20, 3, 30, 4, 40, 5, 50]] * 2
    worked = [(tmp_path / f"worked-{number}").read_text().split() for number in range(2)]
    assert worked == [["1", "3", "5"], ["2", "4"]]

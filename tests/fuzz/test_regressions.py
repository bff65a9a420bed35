"""The files that once crashed a reader, took its memory or got past it, one by one.

`regressions/READER-SEED.*` are small; those of HDF5, or deep in a folder, are made from their
seeds. SciPy's reader of MATLAB files dies of mat5-0, mat5-236 and tables-260.
"""

import shutil
from pathlib import Path

import pytest
from fuzz import harness
from fuzz.readers import reader_of
from fuzz.worker import GROWTH, limit, outcome

KEPT = sorted(Path(__file__).with_name("regressions").iterdir())
SEEDS = {
    "netcdf": (8, 10, 14, 78, 1299, 1310), "emit": (37, 75, 167), "prisma": (238, 247, 287),
    "base_folder": (338,), "attention_run": (274, 468),
}  # fmt: skip


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_a_file_that_once_did_harm_is_refused(file, tmp_path):
    reader = reader_of(file.stem.rpartition("-")[0])
    (target, *_) = [path for path in reader.make(tmp_path) if path.suffix == file.suffix]
    reader.read(target)  # imports what it needs, which is not limited
    shutil.copy(file, target)
    limit(GROWTH)
    try:
        assert outcome(reader, target) is None
    finally:
        limit(None)


@pytest.mark.slow
def test_a_seed_that_once_did_harm_is_refused(tmp_path):
    jobs = [(name, seed, seed + 1) for name, seeds in SEEDS.items() for seed in seeds]
    assert not harness.fuzz(jobs, tmp_path)

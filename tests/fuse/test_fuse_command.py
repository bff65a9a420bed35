"""`qr fuse`, `qr eval fuse`, `qr data hsi` as they are typed: files, records, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
from fuse.conftest import DATA, made_pair

from qr_cli.cli.app import run
from qr_cli.cli.output import out
from qr_cli.fuse.raster import from_array
from qr_cli.fuse.recipe import Fuse
from qr_cli.fuse.scene import lay, meet, scaled
from qr_cli.fuse.task import fit

ROOT = Path(__file__).parents[2]


@pytest.fixture
def qr(capsys):
    def call(*words):
        capsys.readouterr()
        code = run(list(words))
        told = capsys.readouterr()
        return code, [json.loads(line) for line in told.out.splitlines()], told.err

    yield call
    out.configure()


@pytest.fixture
def fuse_files(qr, files, tmp_path):
    def call(*words, low="tif", high="tif", **about):
        hsi, msi = files(low, high, **about)
        return qr("fuse", "--hsi", hsi, "--msi", msi, "--out", str(tmp_path / "fused.tif"),
                  "--threads", "1", *words)  # fmt: skip

    return call


def test_a_pair_becomes_an_image_on_the_grid_of_the_msi(fuse_files, tmp_path, pair):
    code, records, _ = fuse_files("--uncertainty", str(tmp_path / "u.tif"))
    assert code == 0
    events = [r["event"] for r in records]
    assert events[:3] == ["registration", "degradation", "noise"] and events[-1] == "fused"
    with rasterio.open(tmp_path / "fused.tif") as made, rasterio.open(tmp_path / "msi.tif") as msi:
        assert (made.crs, made.transform, made.shape) == (msi.crs, msi.transform, msi.shape)
        assert made.dtypes[0] == "uint16" and made.scales[0] == 1e-4
        assert made.tags(1)["wavelength"] == "420"
        x = made.read().transpose(1, 2, 0) * 1e-4
    assert np.sqrt(np.mean((x - pair.reference) ** 2)) < 2e-3
    with rasterio.open(tmp_path / "u.tif") as error:
        assert error.count == 1 and error.read().min() > 0
    beside = json.loads((tmp_path / "fused.json").read_text())
    assert beside["psf_taps"] and len(beside["bands"]) == 30 and beside["recipe"]["task"] == "fuse"
    folder = Path("runs/fuse/fused")
    assert {p.name for p in folder.iterdir()} >= {
        *("recipe.yaml", "run.json", "metrics.jsonl", "log.txt", "plots", "report.html")
    }
    assert json.loads((folder / "run.json").read_text())["status"] == "done"
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == len(records)
    assert (tmp_path / "fused.png").stat().st_size > 2000


@pytest.mark.parametrize("low", ["hdr", "npz", "mat", "seven", "nc"])
def test_every_format_gives_the_same_image(low, qr, files, tmp_path, pair):
    hsi, msi = files("tif" if low in ("seven", "nc") else low, "tif")
    if low in ("seven", "nc"):
        import h5py

        stored = np.rint(pair.y * 10000).astype(np.uint16)
        hsi = str(tmp_path / ("hsi.mat" if low == "seven" else "hsi.nc"))
        with h5py.File(hsi, "w") as file:
            file["cube"] = stored.T if low == "seven" else stored
            file["wavelength"] = np.linspace(420, 900, 30)
    more = ("--hsi-scale", "1e-4") if low in ("mat", "seven", "nc") else ()
    code, _, err = qr("fuse", "--hsi", hsi, "--msi", msi, "--out", "f.npz", "--dtype", "float32",
                      "--no-report", "--no-quicklook", "--method", "glp", *more)  # fmt: skip
    assert code == 0, err
    with np.load("f.npz") as made:
        assert np.sqrt(np.mean((made["cube"] - pair.reference) ** 2)) < 2e-3
        np.testing.assert_allclose(made["wavelength_nm"], np.linspace(420, 900, 30), rtol=1e-5)


def test_a_dry_run_reads_headers_and_writes_nothing(fuse_files, tmp_path):
    code, (plan,), _ = fuse_files("--dry-run")
    assert code == 0
    assert (plan["ratio"], plan["overlap_hsi_px"], plan["output"]) == (4, [10, 10], [40, 40, 30])
    assert {p.name for p in tmp_path.iterdir()} == {"hsi.tif", "msi.tif"}


def test_a_second_run_needs_overwrite(fuse_files):
    assert fuse_files("--method", "bicubic", "--no-quicklook")[0] == 0
    code, _, err = fuse_files("--method", "bicubic", "--no-quicklook")
    assert code == 2 and "exists" in err and "--overwrite" in err
    assert fuse_files("--method", "bicubic", "--no-quicklook", "--overwrite")[0] == 0


def test_holes_are_carried_through(qr, tmp_path):
    pair = made_pair(side=64)
    y = pair.y.copy()
    y[3, 3] = np.nan
    z = pair.z.copy()
    z[40:43, 20:30] = np.nan
    np.savez("y.npz", cube=y)
    np.savez("z.npz", cube=z)
    code, _, err = qr("fuse", "--hsi", "y.npz", "--msi", "z.npz", "--out", "f.tif", "--no-report")
    assert code == 0 and "not finite" in err
    with rasterio.open("f.tif") as file:
        made = file.read().transpose(1, 2, 0)
    bad = np.isnan(made).any(-1)
    assert bad[12:16, 12:16].all() and bad[40:43, 20:30].all()
    assert bad.sum() == 16 + 30
    error = np.abs(made - pair.reference)[~bad]
    assert np.sqrt(np.mean(error**2)) < 5e-3


def lines(*rows):
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "pairs.jsonl"


def test_a_list_answers_line_by_line_and_one_bad_line_spoils_no_other(qr, files):
    hsi, msi = files()
    given = lines(
        {"id": "a", "hsi": hsi, "msi": msi, "out": "a.tif"},
        {"id": "b", "hsi": "gone.tif", "msi": msi, "out": "b.tif"},
        {"id": "c", "hsi": hsi, "msi": msi, "out": "c.tif", "method": "bicubi"},
        {"id": "d", "hsi": hsi, "msi": msi, "out": "d.tif"},
    )
    code, records, err = qr("fuse", given, "--method", "glp", "--no-report", "--no-quicklook")
    assert code == 3 and "2 of 4 pairs failed" in err
    assert [r["id"] for r in records] == ["a", "b", "c", "d"]
    assert records[0]["method"] == records[3]["method"] == "glp"
    assert records[1]["error"]["exit_code"] == 3 and "gone.tif" in records[1]["error"]["message"]
    assert "did you mean 'bicubic'" in records[2]["error"]["message"]
    assert Path("a.tif").read_bytes() == Path("d.tif").read_bytes()


def save(low, high):
    np.savez("y.npz", cube=low)
    np.savez("z.npz", cube=high)
    return "--hsi", "y.npz", "--msi", "z.npz"


RANDOM = np.random.default_rng(0)
ONES = np.ones((10, 10, 8))
BAD = {
    "swapped": (lambda: save(RANDOM.random((40, 40, 9)), RANDOM.random((10, 10, 3))), "finer one"),
    "uneven": (lambda: save(RANDOM.random((10, 10, 9)), RANDOM.random((50, 47, 3))), "5 and 4.7"),
    "few bands": (lambda: save(ONES, RANDOM.random((40, 40, 8))), "got 8 and 8"),
    "small": (lambda: save(RANDOM.random((6, 9, 8)), RANDOM.random((24, 36, 3))), "needs 8"),
    "transposed": (lambda: save(RANDOM.random((9, 10, 10)), RANDOM.random((40, 40, 3))), "ratios"),
    "all nodata": (lambda: save(ONES * np.nan, RANDOM.random((40, 40, 3))), "no band|invalid"),
    "half nodata": (
        lambda: save(np.where(np.arange(10)[:, None, None] < 6, np.nan, RANDOM.random((10, 10, 8))),
                     RANDOM.random((40, 40, 3))), "over half|only"),
    "zero": (lambda: save(np.zeros((10, 10, 8)), RANDOM.random((40, 40, 3))), "no band"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD))
def test_a_pair_that_cannot_be_is_refused_and_nothing_is_written(name, qr):
    make, said = BAD[name]
    code, records, err = qr("fuse", *make(), "--out", "f.tif", "--no-report")
    assert code == 3, err
    import re

    assert re.search(said, err), err
    assert "Traceback" not in err and not records
    assert not list(Path().glob("*f.*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--targets", "oracle", "--method", "adasr"), "oracle needs the true --psf and --srf"),
        (("--augmentor", "none"), "--augmentor: only with --method adasr"),
        (("--glp-mode", "multiplicative"), "--glp-mode: only with --method glp"),
        (("--uncertainty", "u.tif", "--method", "glp"), "--uncertainty: only with --method auto"),
        (("--method", "aut"), "did you mean 'auto'"),
        (("--psf", "sharp"), "--psf: should be"),
        (("--max-memory", "1"), "should be a size"),
        (("--out", "f.xyz"), "cannot write '.xyz'"),
        (("--out", "no/f.tif"), "does not exist"),
    ],
)
def test_flags_that_cannot_be_meant_exit_2(words, said, fuse_files):
    code, _, err = fuse_files(*words)
    assert code == 2 and said in err


def test_a_missing_image_is_named(qr):
    code, _, err = qr("fuse", "--hsi", "a.tif", "--out", "f.tif")
    assert code == 2 and "--msi is missing" in err


def test_grids_that_do_not_meet_are_told_with_their_extents(qr, files, tmp_path):
    hsi, _ = files()
    _, msi = files(transform=(10.0, 0.0, 9e5, 0.0, -10.0, 5e6))
    files(transform=(40.0, 0.0, 5e5, 0.0, -40.0, 5e6))
    code, _, err = qr("fuse", "--hsi", hsi, "--msi", msi, "--out", "f.tif")
    assert code == 3


def placed(shape, step, left=0.0, top=0.0, crs="EPSG:32631", turn=0.0):
    values = np.random.default_rng(1).random(shape)
    return from_array(values, transform=(step, turn, left, turn, -step, top), crs=crs)


def test_georeferences_lay_the_grids():
    hsi = placed((10, 10, 8), 30.0, 100.0, 900.0)
    msi = placed((80, 80, 3), 10.0, 40.0, 960.0)
    rows, columns = lay(hsi, msi)
    assert (rows.ratio, rows.offset, columns.offset) == (3, 6, 6)
    scene = meet(hsi, msi, (rows, columns))
    assert (scene.rows.low, scene.high_start) == (10, (6, 6))
    part = meet(
        hsi,
        placed((80, 80, 3), 10.0, 160.0, 960.0),
        lay(hsi, placed((80, 80, 3), 10.0, 160.0, 960.0)),
    )
    assert (part.columns.low, part.low_start) == (8, (0, 2))


@pytest.mark.parametrize(
    ("msi", "said"),
    [
        (placed((40, 40, 3), 10.0, 9000.0), "do not overlap: left, bottom, right, top"),
        (placed((40, 40, 3), 10.0, crs="EPSG:32632"), "different coordinate systems"),
        (placed((40, 40, 3), 10.0, turn=1.0), "rotated grid"),
        (placed((40, 40, 3), 60.0), "finer one"),
    ],
)
def test_grids_that_cannot_be_laid_are_refused(msi, said):
    from qr_cli.errors import DataError

    with pytest.raises(DataError, match=said):
        lay(placed((10, 10, 8), 40.0), msi)


def test_a_ratio_that_is_not_whole_is_fused():
    from scipy.ndimage import gaussian_filter

    from qr_cli.fuse import fuse

    pair = made_pair(side=60, ratio=4)
    x = pair.reference
    smooth = gaussian_filter(x, (1.1, 1.1, 0))
    at = (np.arange(24) + 0.5) * 2.5 - 0.5
    low = np.stack([[smooth[int(round(i)), int(round(j))] for j in at] for i in at])
    made = fuse(low, pair.z, ratio=2.5, threads=1)
    assert made.psf is None
    assert np.sqrt(np.mean((made.array - x) ** 2)) < 0.02


def test_a_pair_of_two_places_is_doubted_and_refused_when_strict(qr, caplog):
    generator = np.random.default_rng(5)
    words = save(generator.random((20, 20, 9)), generator.random((80, 80, 3)))
    code, _, err = qr("fuse", *words, "--out", "f.tif", "--no-report", "--strict")
    assert code == 3 and ("same place" in err or "at its bound" in err)
    assert not Path("f.tif").exists()


def test_negative_values_are_kept_and_constant_bands_left_out(qr):
    pair = made_pair()
    y = pair.y - pair.y.mean()
    y[..., 7] = 0.5
    code, records, err = qr("fuse", *save(y, pair.z), "--out", "f.tif", "--no-report")
    assert code == 0 and "bands 7 are constant" in err
    assert records[-1]["shape"] == [40, 40, 29]
    with rasterio.open("f.tif") as file:
        assert file.read().min() < 0


def test_a_method_that_needs_too_much_memory_says_what_to_do(fuse_files):
    code, _, err = fuse_files("--method", "fuse", "--max-memory", "1MiB")
    assert code == 5 and "--method auto" in err


def test_tiles_of_any_size_give_the_same_image(monkeypatch):
    """A window of 2 LR pixels keeps the halo far smaller than the scene: tiles see a part only."""
    from qr_cli.fuse.methods import regression
    from qr_cli.fuse.methods.auto import Auto
    from qr_cli.fuse.selftest import assembled

    monkeypatch.setattr(regression, "SIGMAS", (2.0,))
    pair = made_pair(side=480, bands=8, ratio=4, snr=(35, 40))
    rows = 72
    warp = np.linspace(0.8, 1.2, pair.y.shape[1])[:, None]  # what needs a local part
    y, z = pair.y[: rows // 4] * warp, pair.z[:rows].copy()
    z[30:36, 200:215] = np.nan
    hsi, msi = from_array(y), from_array(z)

    def image(tile):
        recipe = Fuse.model_validate(
            {"sensors": {"psf": "official"}, "job": {"tile": tile, "threads": 2}}
        )
        fusion = fit(recipe, hsi, msi)
        assert fusion.fitted.choice.sigma == 2
        return assembled(fusion), fusion.fitted.margin

    whole, margin = image(1000)
    assert 16 + 2 * margin < y.shape[1]
    for tile in (16, 23):
        tiles, _ = image(tile)
        assert np.array_equal(np.isnan(tiles), np.isnan(whole))
        assert np.nanmax(np.abs(tiles - whole)) / np.nanmax(whole) < 1e-4
    monkeypatch.setattr(Auto, "margin", 3)  # too small a halo must be seen
    seams, _ = image(16)
    assert np.nanmax(np.abs(seams - whole)) / np.nanmax(whole) > 1e-4


@pytest.mark.slow
def test_a_killed_process_leaves_no_output(tmp_path):
    generator = np.random.default_rng(0)
    np.save("y.npy", generator.random((160, 160, 40), np.float32))
    np.save("z.npy", generator.random((640, 640, 4), np.float32))
    command = [sys.executable, "-m", "qr_cli", "fuse", "--hsi", "y.npy", "--msi", "z.npy",
               "--out", "f.tif", "--psf", "official", "--tile", "16", "--threads", "1",
               "--no-report"]  # fmt: skip
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not list(Path().glob(".f.*")):
        time.sleep(0.05)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path("f.tif").exists() and not Path("f.json").exists()


@pytest.mark.slow
def test_ctrl_c_between_tiles_leaves_no_output(tmp_path):
    generator = np.random.default_rng(0)
    np.save("y.npy", generator.random((160, 160, 40), np.float32))
    np.save("z.npy", generator.random((640, 640, 4), np.float32))
    process = subprocess.Popen(
        [sys.executable, "-m", "qr_cli", "fuse", "--hsi", "y.npy", "--msi", "z.npy", "--out",
         "f.tif", "--psf", "official", "--tile", "16", "--threads", "1", "--no-report"],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
        # a job in the background inherits that Ctrl-C is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while process.poll() is None and not list(Path().glob(".f.*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130 and "Traceback" not in err
    assert not list(Path().glob("*f.*"))


def test_nodata_and_scale_of_the_hsi_are_kept(qr, files):
    """Stored as uint16 with nodata 65535: a hole of the MSI comes out as that value."""
    hsi, msi = files(nodata=65535)
    with rasterio.open(msi, "r+") as file:
        stored = file.read()
        stored[:, 8:12, 8:20] = 65535
        file.write(stored)
    code, records, err = qr("fuse", "--hsi", hsi, "--msi", msi, "--out", "f.tif", "--no-report")
    assert code == 0, err
    with rasterio.open("f.tif") as made:
        values = made.read()
        assert made.nodata == 65535 and made.dtypes[0] == "uint16" and made.scales[0] == 1e-4
    hole = (values == 65535).all(0)
    assert hole[8:12, 8:20].all() and hole.sum() == 48


def test_a_missing_package_names_the_extra(qr, files, monkeypatch):
    hsi, msi = files()
    monkeypatch.setitem(sys.modules, "rasterio", None)
    code, _, err = qr("fuse", "--hsi", hsi, "--msi", msi, "--out", "f.tif", "--no-report")
    assert code == 5 and "pip install 'qr-cli[fuse]'" in err


def test_other_coordinate_systems_are_told_and_reprojected(qr, files, tmp_path):
    hsi, msi = files()
    other = tmp_path / "other.tif"
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    with rasterio.open(hsi) as file:
        values, place = file.read(), (file.crs, *file.shape[::-1], *file.bounds)
        to = "EPSG:3857"
        transform, width, height = calculate_default_transform(place[0], to, *place[1:])
        moved = np.zeros((len(values), height, width), np.uint16)
        reproject(values, moved, src_transform=file.transform, src_crs=file.crs,
                  dst_transform=transform, dst_crs=to, resampling=Resampling.nearest)  # fmt: skip
        facts = file.profile | {"crs": to, "transform": transform, "width": width,
                                "height": height, "tiled": False, "nodata": 0}  # fmt: skip
        for name in ("blockxsize", "blockysize"):
            facts.pop(name, None)
    with rasterio.open(other, "w", **facts) as file:
        file.write(moved)
        file.scales = [1e-4] * len(moved)
    words = ("fuse", "--hsi", str(other), "--msi", msi, "--out", "f.tif", "--no-report")
    code, _, err = qr(*words)
    assert code == 3 and "different coordinate systems" in err and "--reproject hsi" in err
    code, _, err = qr(*words, "--reproject", "hsi")
    assert code == 0, err
    with rasterio.open("f.tif") as made, rasterio.open(msi) as high:
        assert made.crs == high.crs and made.res == high.res


@pytest.mark.slow
def test_two_processes_make_the_same_files_as_one(files):
    hsi, msi = files()
    for name in ("one", "two"):
        Path(name).mkdir()
        Path(f"{name}.jsonl").write_text(
            "".join(
                json.dumps(
                    {"id": str(i), "hsi": hsi, "msi": msi, "out": f"{name}/{i}.tif", "seed": i}
                )
                + "\n"
                for i in range(3)
            )
        )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    told = {}
    for name, count in (("one", "1"), ("two", "2")):
        done = subprocess.run(
            [sys.executable, "-m", "qr_cli", "fuse", f"{name}.jsonl", "--no-report",
             "--no-quicklook", "--num-processes", count],
            env=env, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        told[name] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["id"] for r in told["two"]] == ["0", "1", "2"]
    for i in range(3):
        assert Path(f"one/{i}.tif").read_bytes() == Path(f"two/{i}.tif").read_bytes()


@pytest.mark.slow
def test_training_is_resumed_and_a_loss_that_is_not_finite_stops(qr, monkeypatch):
    pair = made_pair()
    words = ("fuse", *save(pair.y, pair.z), "--out", "f.tif", "--method", "adasr",
             "--augmentor", "none", "--iterations", "1,50", "--device", "cpu")  # fmt: skip
    assert qr(*words)[0] == 0
    folder = Path("runs/fuse/f/net/checkpoints")
    assert folder.is_dir()
    assert qr(*words, "--resume")[0] == 0
    from qr_cli.fuse.methods import adasr

    monkeypatch.setattr(adasr, "NET_RATE", 1e30)
    code, _, err = qr(*words, "--overwrite")
    assert code == 6 and "not finite" in err


def test_a_scene_of_ours_stands_in_where_there_is_no_file_of_its_name(qr):
    code, (found,), _ = qr("data", "hsi", "info", "generated")
    assert code == 0 and found["shape"] == [120, 120, 80] and 0 < found["min"] < found["max"] < 1
    code, (made,), err = qr("data", "hsi", "simulate", "--cube", "generated", "--srf",
                            "worldview2", "--snr", "35,40", "--out", "pair")  # fmt: skip
    assert code == 0 and made["msi"] == [120, 120, 8] and err == ""
    np.savez("generated", np.ones((4, 5, 3)))
    Path("generated.npz").rename("generated")
    code, _, err = qr("data", "hsi", "info", "generated")
    assert code == 2 and "suffix" in err


def test_a_refused_fusion_does_not_stand_in_the_way_of_the_next(qr):
    pair = made_pair()
    np.savez("y.npz", cube=pair.y, wavelength_nm=np.linspace(420, 880, 30))
    np.savez("z.npz", cube=pair.z)
    words = ("fuse", "--hsi", "y.npz", "--msi", "z.npz", "--out", "f.npz", "--no-quicklook",
             "--method", "bicubic", "--psf", "official")  # fmt: skip
    code, _, err = qr(*words, "--srf", "none.csv")
    assert code == 3 and "--srf: none.csv: no such file" in err
    assert not Path("runs/fuse/f").exists()
    assert qr(*words)[0] == 0 and Path("runs/fuse/f/report.html").is_file()


def test_a_cube_is_simulated_evaluated_and_compared(qr):
    pair = made_pair()
    np.savez("x.npz", cube=pair.reference, wavelength_nm=np.linspace(420, 880, 30))
    code, (made,), _ = qr("data", "hsi", "simulate", "--cube", "x.npz", "--ratio", "4",
                          "--srf", "worldview2", "--snr", "35,40", "--out", "pair")  # fmt: skip
    assert code == 0 and made["hsi"] == [10, 10, 30]
    assert {p.name for p in Path("pair").iterdir()} == {
        *("hsi.npz", "msi.npz", "reference.npz", "truth.json", "psf.npy", "srf.csv")
    }
    code, _, err = qr("data", "hsi", "simulate", "--cube", "x.npz", "--out", "pair")
    assert code == 2 and "not empty" in err
    assert qr("fuse", "--hsi", "pair/hsi.npz", "--msi", "pair/msi.npz", "--out", "f.npz",
              "--psf", "pair/psf.npy", "--srf", "pair/srf.csv", "--no-report")[0] == 0  # fmt: skip
    code, records, _ = qr("eval", "fuse", "--reference", "pair/reference.npz", "--fused", "f.npz",
                          "--per-band", "--uiqi")  # fmt: skip
    assert code == 0 and records[0]["ergas_ratio"] == 4 and len(records) == 31
    assert records[0]["psnr_db"] > 30
    code, (record,), _ = qr("eval", "fuse", "--hsi", "pair/hsi.npz", "--msi", "pair/msi.npz",
                            "--fused", "f.npz")  # fmt: skip
    assert code == 0 and record["reference"] is None and record["d_s"] is not None
    code, records, _ = qr("eval", "fuse", "--cube", "x.npz", "--ratio", "4", "--srf", "rgb",
                          "--methods", "glp,bicubic")  # fmt: skip
    assert code == 0 and [r["method"] for r in records] == ["glp", "bicubic"]
    assert records[0]["psnr_db"] > records[1]["psnr_db"]
    code, records, err = qr("eval", "fuse", "--hsi", "pair/hsi.npz", "--msi", "pair/msi.npz",
                            "--self-test", "--methods", "glp")  # fmt: skip
    assert code == 0 and not records and "too small" in err
    assert qr("eval", "fuse", "--reference", "pair/reference.npz")[0] == 2


def test_methods_are_ranked_at_reduced_resolution(qr):
    pair = made_pair(side=96)
    words = ("eval", "fuse", *save(pair.y, pair.z), "--self-test", "--methods", "glp,bicubic")
    code, (glp, bicubic), _ = qr(*words)
    assert code == 0 and glp["at"] == "reduced resolution, ratio 2"
    assert glp["psnr_db"] > bicubic["psnr_db"]


def test_files_are_looked_into_and_converted(qr, files):
    hsi, _ = files()
    code, (about,), _ = qr("data", "hsi", "info", hsi)
    assert code == 0 and about["shape"] == [10, 10, 30] and about["wavelengths_nm"][0] == 420
    assert qr("data", "hsi", "convert", hsi, "a.hdr")[0] == 0
    code, (copy,), _ = qr("data", "hsi", "info", "a.hdr")
    assert (copy["shape"], copy["dtype"], copy["max"]) == (about["shape"], "uint16", about["max"])
    Path("wl.txt").write_text("\n".join(map(str, np.linspace(420, 880, 30))))
    code, (made,), _ = qr("data", "hsi", "srf", "--sensor", "worldview2", "--wavelengths",
                          "wl.txt", "--out", "srf.csv")  # fmt: skip
    assert code == 0 and np.loadtxt("srf.csv", delimiter=",").shape == tuple(made["shape"])


def test_a_mask_and_a_crop_are_obeyed(qr):
    pair = made_pair(side=64)
    bad = np.zeros((16, 16), np.uint8)
    bad[2, 5] = 1
    np.save("bad.npy", bad)
    code, _, _ = qr("fuse", *save(pair.y, pair.z), "--out", "f.tif", "--no-report",
                    "--mask", "bad.npy", "--crop", "0,12,2,16")  # fmt: skip
    assert code == 0
    with rasterio.open("f.tif") as file:
        made = file.read(1)
    assert np.isnan(made[:, :8]).all() and np.isnan(made[48:]).all()
    assert np.isnan(made[8:12, 20:24]).all() and np.isfinite(made[8:12, 24:28]).all()


@pytest.mark.data
@pytest.mark.slow
def test_the_bars_of_the_real_cubes_hold():
    from fuse.conftest import real_pair

    from qr_cli.fuse import fuse, metrics

    bars = {
        ("jasper_ridge", None): (45.24, 3.01),
        ("samson", None): (50.34, 0.765),
        ("jasper_ridge", (30, 40)): (40.98, 3.20),
        ("samson", (30, 40)): (43.38, 1.94),
    }
    for (name, snr), (psnr, sam) in bars.items():
        pair = real_pair(name, snr)
        made = fuse(pair.y, pair.z, threads=1)
        assert metrics.psnr_db(pair.reference, made.array) >= psnr
        assert metrics.sam_deg(pair.reference, made.array) <= sam
        share = (np.abs(made.array - pair.reference) < made.uncertainty()).mean()
        assert 0.55 <= share <= 0.97


@pytest.mark.data
@pytest.mark.slow
def test_two_real_sensors_are_registered_and_fused():
    if not DATA.is_dir():
        pytest.skip("the real pair is not here")
    from qr_cli.fuse import fuse, metrics
    from qr_cli.fuse.grid import Axis
    from qr_cli.fuse.simulate import kernel

    with np.load(DATA / "paris_hyperion_ali.npz") as held:
        x, z = held["hsi"] / 20000.0, held["msi"] / 20000.0
    low = kernel(3).apply(x, Axis(24, 72, 3), Axis(24, 72, 3))
    found = {}
    for mode in ("off", "msi"):
        made = fuse(low, z, psf="official", register=mode, threads=1)
        inner = (slice(3, -3), slice(3, -3))
        ok = made.valid[inner]
        found[mode] = metrics.psnr_db(x[inner], np.nan_to_num(made.array[inner]), valid=ok)
    assert found["off"] >= 29.2 and found["msi"] >= 33.1 and found["msi"] - found["off"] >= 3
    assert max(abs(d) for d in made.records[0]["remaining_hr_px"]) <= 0.05


def test_a_scene_is_scaled_by_its_quantile_and_fills_its_holes():
    values = np.random.default_rng(3).random((10, 10, 6))
    values[2, 2] = np.nan
    hsi, msi = from_array(values), from_array(np.random.default_rng(4).random((40, 40, 2)))
    scene = scaled(meet(hsi, msi, lay(hsi, msi)))
    y, mask = scene.read_low(0, 10, 0, 10)
    assert not mask[2, 2] and mask.sum() == 99
    np.testing.assert_allclose(y[2, 2], scene.fill_y)
    assert np.quantile(y[mask], 0.9999) == pytest.approx(1, abs=1e-3)

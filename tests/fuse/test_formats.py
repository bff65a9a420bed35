"""Files in and out: what is kept, what is refused, products with the paths of their makers."""

import h5py
import numpy as np
import pytest
import rasterio
from scipy.io import loadmat, savemat

from qr_cli.errors import DataError, UsageError
from qr_cli.fuse.formats.read import Reading, choose_bands, open_raster
from qr_cli.fuse.formats.write import check_out, open_writer
from qr_cli.fuse.raster import from_array

CUBE = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)
WAVE = np.array([450.0, 500, 550, 600, 650, 700])
PLACE = (30.0, 0.0, 5e5, 0.0, -30.0, 4e6)


def written(path, values=CUBE, **more):
    about = {"transform": PLACE, "crs": "EPSG:32631", "wavelength_nm": WAVE, "scale": 1e-4}
    writer = open_writer(path, values.shape, values.dtype, {**about, **more})
    writer.write(0, 0, values[:2])
    writer.write(2, 0, values[2:])
    assert not path.exists()  # it appears when it is closed
    writer.close(more.get("nodata"))
    return path


@pytest.mark.parametrize("suffix", ["tif", "hdr", "npz", "mat"])
def test_a_round_trip_keeps_values_wavelengths_and_scale(suffix, tmp_path):
    back = open_raster(str(written(tmp_path / f"a.{suffix}")), Reading(key=None))
    np.testing.assert_allclose(back.read(), CUBE * (1 if suffix == "mat" else 1e-4), rtol=1e-6)
    np.testing.assert_allclose(back.wavelength_nm, WAVE, rtol=1e-6)
    assert back.dtype == np.uint16
    part = back.read((1, 3, 2, 5))
    np.testing.assert_array_equal(part, back.read()[1:3, 2:5])


@pytest.mark.parametrize("suffix", ["tif", "hdr", "npz"])
def test_a_round_trip_keeps_place_and_nodata(suffix, tmp_path):
    back = open_raster(str(written(tmp_path / f"a.{suffix}", nodata=7.0)))
    np.testing.assert_allclose(back.transform, PLACE)
    assert "32631" in rasterio.crs.CRS.from_user_input(back.crs).to_string()
    assert back.nodata == 7
    assert np.isnan(back.read()[0, 1]).sum() == 1


def test_rasterio_reads_bands_as_gis_tools_want_them(tmp_path):
    with rasterio.open(written(tmp_path / "a.tif", fwhm_nm=np.full(6, 10.0))) as file:
        assert file.descriptions[2] == "band 3 (550.0 nm)"
        assert file.tags(3) == {"wavelength": "550", "wavelength_units": "nanometers", "fwhm": "10"}
        assert file.tags(3, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"] == "0.55"
        assert file.scales[0] == 1e-4
        np.testing.assert_array_equal(file.read(), CUBE.transpose(2, 0, 1))


def test_spectral_reads_the_envi_files(tmp_path):
    import spectral.io.envi as envi

    image = envi.open(str(written(tmp_path / "a.hdr")))
    np.testing.assert_array_equal(image.open_memmap(interleave="bip"), CUBE)
    assert image.bands.centers == WAVE.tolist()


def test_matlab_files_are_told_by_their_first_bytes(tmp_path):
    savemat(tmp_path / "five.mat", {"REF": CUBE, "note": "x"})
    with h5py.File(tmp_path / "seven.mat", "w", userblock_size=512) as file:
        file["REF"] = CUBE.T
    for name in ("five.mat", "seven.mat"):
        np.testing.assert_array_equal(open_raster(str(tmp_path / name)).read(), CUBE)
    (tmp_path / "text.mat").write_text("REF = 1")
    with pytest.raises(DataError, match="not a MATLAB file"):
        open_raster(str(tmp_path / "text.mat"))
    held = (tmp_path / "five.mat").read_bytes()
    (tmp_path / "cut.mat").write_bytes(held[: len(held) // 2])
    with pytest.raises(DataError, match="cannot be read|holds no cube"):
        open_raster(str(tmp_path / "cut.mat"))


def test_several_cubes_are_listed_with_the_flag_that_chooses(tmp_path):
    savemat(tmp_path / "a.mat", {"REF": CUBE, "Z": CUBE[..., :3]})
    with pytest.raises(DataError, match=r"REF \(4,5,6\), Z \(4,5,3\)") as fault:
        open_raster(str(tmp_path / "a.mat"))
    assert fault.value.hint == "--hsi-key REF"
    assert open_raster(str(tmp_path / "a.mat"), Reading(key="Z")).shape == (4, 5, 3)
    with pytest.raises(DataError, match="has no 'X'"):
        open_raster(str(tmp_path / "a.mat"), Reading(key="X"))


def test_a_list_of_pixels_is_in_column_major_order(tmp_path):
    flat = CUBE.transpose(2, 0, 1).reshape(6, 20, order="F")
    savemat(tmp_path / "a.mat", {"Y": flat, "nRow": 4, "nCol": 5, "SlectBands": np.ones((2, 2, 2))})
    np.testing.assert_array_equal(open_raster(str(tmp_path / "a.mat")).read(), CUBE)
    with pytest.raises(DataError, match="20 pixels are not 3 x 5"):
        open_raster(str(tmp_path / "a.mat"), Reading(key="Y", shape=(3, 5)))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones((3, 3, 3), complex), "complex"),
        (np.ones(9), "holds no cube|1 dimensions|expected a cube"),
        (np.ones((2, 2, 2, 2)), "holds no cube|4 dimensions"),
    ],
)
def test_what_is_no_image_is_refused(values, said, tmp_path):
    np.savez(tmp_path / "a.npz", cube=values)
    with pytest.raises(DataError, match=said):
        open_raster(str(tmp_path / "a.npz"))


def test_objects_are_not_read(tmp_path):
    savemat(tmp_path / "a.mat", {"s": {"cube": CUBE}})
    with pytest.raises(DataError, match="objects are not read: s"):
        open_raster(str(tmp_path / "a.mat"))
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read"):
        open_raster(str(tmp_path / "a.npy"))


def test_truncated_and_missing_files_are_told(tmp_path):
    path = written(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(DataError, match="cannot be read"):
        open_raster(str(path))
    with pytest.raises(DataError, match="no such file"):
        open_raster(str(tmp_path / "b.tif"))
    (tmp_path / "a.xyz").write_text("")
    with pytest.raises(UsageError, match="suffix '.xyz'"):
        open_raster(str(tmp_path / "a.xyz"))


def test_single_bands_are_stacked(tmp_path):
    for band in range(3):
        written(tmp_path / f"b{band}.tif", CUBE[..., band : band + 1],
                wavelength_nm=WAVE[band : band + 1])  # fmt: skip
    names = ",".join(str(tmp_path / f"b{band}.tif") for band in range(3))
    stacked = open_raster(names)
    np.testing.assert_allclose(stacked.read(), CUBE[..., :3] * 1e-4)
    np.testing.assert_allclose(stacked.wavelength_nm, WAVE[:3])
    written(tmp_path / "odd.tif", CUBE[:3, :, :1], wavelength_nm=WAVE[:1])
    with pytest.raises(DataError, match="3 x 5"):
        open_raster(f"{names},{tmp_path / 'odd.tif'}")


def test_micrometres_and_unsorted_wavelengths_are_put_right(tmp_path):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["cube"] = CUBE.transpose(2, 0, 1)
        file["wavelength"] = WAVE[::-1] / 1000
    back = open_raster(str(tmp_path / "a.nc"))
    np.testing.assert_allclose(back.wavelength_nm, WAVE)
    np.testing.assert_array_equal(back.read(), CUBE[..., ::-1])


def test_another_number_of_wavelengths_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", cube=CUBE, wavelength_nm=WAVE[:5])
    with pytest.raises(DataError, match="6 bands and 5 wavelengths"):
        open_raster(str(tmp_path / "a.npz"))


def test_bands_are_chosen_by_ranges_and_water_is_left_out():
    raster = from_array(np.ones((9, 9, 5)), wavelength_nm=[1300, 1400, 1500, 1800, 2460])
    assert choose_bands(raster, ["1-2", "4-"], drop_water=False).shape[2] == 3
    dry = choose_bands(raster, [], drop_water=True)
    assert dry.wavelength_nm.tolist() == [1300, 1500]
    with pytest.raises(UsageError, match="outside 0-4"):
        choose_bands(raster, ["7"], drop_water=False)
    with pytest.raises(UsageError, match="cannot read 'a-b'"):
        choose_bands(raster, ["a-b"], drop_water=False)


def test_emit_is_orthorectified_and_its_bad_bands_left_out(tmp_path):
    with h5py.File(tmp_path / "EMIT_L2A.nc", "w") as file:
        raw = file.create_dataset(
            "reflectance", data=np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
        )
        about = file.create_group("sensor_band_parameters")
        about["wavelengths"], about["fwhm"] = np.array([400.0, 500, 600, 700]), np.full(4, 8.0)
        about["good_wavelengths"] = np.array([1, 1, 0, 1], np.uint8)
        place = file.create_group("location")
        place["glt_x"] = np.array([[0, 1, 2], [3, 0, 1]], np.int32)
        place["glt_y"] = np.array([[0, 1, 1], [2, 0, 2]], np.int32)
        file.attrs["geotransform"] = [10.0, 0.5, 0, 50.0, 0, -0.5]
        file.attrs["spatial_ref"] = rasterio.crs.CRS.from_epsg(4326).to_wkt()
        values = np.asarray(raw)
    raster = open_raster(str(tmp_path / "EMIT_L2A.nc"))
    got = raster.read()
    assert np.isnan(got[0, 0]).all()
    np.testing.assert_array_equal(got[0, 2], values[0, 1])
    np.testing.assert_array_equal(got[1, 0], values[1, 2])
    assert raster.transform == (0.5, 0, 10.0, 0, -0.5, 50.0)
    assert choose_bands(raster, [], drop_water=False).shape[2] == 3


def prisma_file(path):
    with h5py.File(path, "w") as file:
        fields = file.create_group("HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields")
        cube = np.arange(2 * 4 * 3, dtype=np.uint16).reshape(2, 4, 3) * 1000
        fields["VNIR_Cube"], fields["SWIR_Cube"] = cube, cube + 7
        file.attrs["List_Cw_Vnir"] = np.array([980.0, 700, 500, 0])
        file.attrs["List_Cw_Swir"] = np.array([0.0, 2000, 1200, 950])
        for part in ("Vnir", "Swir"):
            file.attrs[f"L2Scale{part}Min"], file.attrs[f"L2Scale{part}Max"] = 0.1, 1.1
        file.attrs["Epsg_Code"] = 32631
        for name, value in (
            ("ULcorner_easting", 5e5),
            ("ULcorner_northing", 4e6),
            ("LRcorner_easting", 5e5 + 60),
            ("LRcorner_northing", 4e6 - 30),
        ):
            file.attrs[f"Product_{name}"] = value
        pan = file.create_group("HDFEOS/SWATHS/PRS_L2D_PCO/Data Fields")
        pan["Cube"] = np.ones((12, 18), np.uint16)
    return cube


@pytest.mark.parametrize(
    ("overlap", "wave"),
    [("vnir", [500, 700, 980, 1200, 2000]), ("swir", [500, 700, 950, 1200, 2000])],
)
def test_prisma_joins_two_sensors_in_order(overlap, wave, tmp_path):
    cube = prisma_file(tmp_path / "PRS_L2D_STD.he5")
    raster = open_raster(str(tmp_path / "PRS_L2D_STD.he5"), Reading(overlap=overlap))
    assert raster.wavelength_nm.tolist() == wave
    np.testing.assert_allclose(raster.read()[..., 0], 0.1 + cube[:, 2] / 65535, rtol=1e-6)
    assert raster.transform == (30.0, 0.0, 5e5 - 15, 0.0, -30.0, 4e6 + 15)


def test_enmap_takes_gains_and_masks_from_beside_it(tmp_path):
    path = written(tmp_path / "ENMAP01-SPECTRAL_IMAGE.TIF", CUBE[..., :2].astype(np.int16),
                   wavelength_nm=None, scale=1.0)  # fmt: skip
    bands = "".join(
        f"<bandID number='{i + 1}'><wavelengthCenterOfBand>{w}</wavelengthCenterOfBand>"
        f"<FWHMOfBand>7</FWHMOfBand><GainOfBand>0.0001</GainOfBand><OffsetOfBand>0</OffsetOfBand></bandID>"
        for i, w in enumerate((420, 430))
    )
    text = f"<level_X><bandCharacterisation>{bands}</bandCharacterisation></level_X>"
    (tmp_path / "ENMAP01-METADATA.XML").write_text(text)
    raster = open_raster(str(path))
    assert raster.wavelength_nm.tolist() == [420, 430] and raster.nodata == -32768
    np.testing.assert_allclose(raster.read(), CUBE[..., :2] * 1e-4)
    from qr_cli.fuse.formats.enmap import quality_masks

    written(tmp_path / "ENMAP01-QL_QUALITY_CLOUD.TIF", CUBE[..., :1], wavelength_nm=None)
    assert [p.name for p in quality_masks(path)] == ["ENMAP01-QL_QUALITY_CLOUD.TIF"]


def test_an_output_is_checked_before_work_is_done(tmp_path):
    (tmp_path / "a.tif").write_text("")
    for path, said in (
        ("a.tif", "exists"),
        ("a.xyz", "cannot write '.xyz'"),
        ("no/a.tif", "does not exist"),
    ):
        with pytest.raises(UsageError, match=said):
            check_out(tmp_path / path, overwrite=False)
    check_out(tmp_path / "a.tif", overwrite=True)


def test_big_matlab_files_are_version_7_3(tmp_path, monkeypatch):
    monkeypatch.setattr("qr_cli.fuse.formats.write.BIG", 10)
    path = written(tmp_path / "a.mat", nodata=None)
    assert path.read_bytes()[:10] == b"MATLAB 7.3"
    np.testing.assert_array_equal(open_raster(str(path)).read() / 1, CUBE)
    monkeypatch.undo()
    assert loadmat(written(tmp_path / "b.mat"))["cube"].shape == (4, 5, 6)

"""Images of `qr fuse`, a few pixels each, in every format, and its tables of numbers."""

from __future__ import annotations

import h5py
import numpy as np
import rasterio
from fuzz.readers import Reader
from scipy.io import savemat

from qr_cli.fuse.formats.read import open_raster
from qr_cli.fuse.known import numbers

CUBE = np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3)
WAVES = np.array([450.0, 550.0, 650.0])


def read(path):
    """Read a raster whole, whichever of its files was damaged."""
    if path.suffix == ".img":
        path = path.with_suffix(".hdr")
    if path.suffix.lower() == ".xml":
        path = next(path.parent.glob("*SPECTRAL_IMAGE.TIF"))
    return open_raster(str(path)).read()


def make_mat5(folder):
    paths = [folder / "a.mat", folder / "b.mat"]
    savemat(paths[0], {"cube": CUBE, "wavelength_nm": WAVES})
    flat = CUBE.reshape(-1, 3).T.astype(float)
    savemat(paths[1], {"Y": flat, "nRow": 4.0, "nCol": 5.0}, do_compression=True)
    return paths


def make_mat73(folder):
    paths = [folder / "a.mat", folder / "b.mat"]
    for path, options in zip(
        paths, ({}, {"compression": "gzip", "chunks": (3, 2, 2)}), strict=True
    ):
        with h5py.File(path, "w", userblock_size=512) as file:
            file.create_dataset("cube", data=CUBE.T, **options)
            file["wavelength_nm"] = WAVES
    return paths


def make_envi(folder):
    (folder / "a.img").write_bytes(CUBE.astype("<u2").tobytes())
    (folder / "a.hdr").write_text(
        "ENVI\ndescription = {made}\nsamples = 5\nlines = 4\nbands = 3\nheader offset = 0\n"
        "file type = ENVI Standard\ndata type = 12\ninterleave = bip\nbyte order = 0\n"
        "wavelength units = Nanometers\nwavelength = {450, 550, 650}\nfwhm = {10, 10, 10}\n"
        "bbl = {1, 0, 1}\nreflectance scale factor = 10000\ndata ignore value = 0\n"
        "map info = {UTM, 1, 1, 500000, 4000000, 30, 30, 31, North, WGS-84}\n"
    )
    return [folder / "a.hdr", folder / "a.img"]


def write_tiff(path, *, values=CUBE, **options):
    with rasterio.open(
        path, "w", driver="GTiff", height=4, width=5, count=values.shape[2], dtype=values.dtype,
        crs="EPSG:32631", transform=rasterio.Affine(30, 0, 5e5, 0, -30, 4e6), **options,
    ) as file:  # fmt: skip
        file.write(values.transpose(2, 0, 1))
        for band in range(values.shape[2]):
            file.update_tags(band + 1, wavelength=str(450 + 100 * band), wavelength_units="nm")
        file.scales = (0.0001,) * values.shape[2]
    return path


def make_geotiff(folder):
    return [
        write_tiff(folder / "a.tif", nodata=0),
        write_tiff(folder / "b.tif", compress="deflate", predictor=2),
        write_tiff(folder / "c.tif", compress="lzw", tiled=True, blockxsize=16, blockysize=16),
    ]


def make_netcdf(folder):
    paths = [folder / "a.nc", folder / "b.nc"]
    for path, options in zip(paths, ({}, {"compression": "gzip", "shuffle": True}), strict=True):
        with h5py.File(path, "w") as file:
            data = file.create_dataset("radiance", data=CUBE, **options)
            data.attrs["_FillValue"], data.attrs["scale_factor"] = 0, 0.001
            file["wavelengths"] = WAVES
            file["wavelengths"].attrs["units"] = "nm"
            file.attrs["geotransform"] = [10.0, 0.5, 0, 50.0, 0, -0.5]
    return paths


def make_emit(folder):
    with h5py.File(folder / "EMIT.nc", "w") as file:
        file["reflectance"] = CUBE.astype(np.float32)
        about = file.create_group("sensor_band_parameters")
        about["wavelengths"], about["fwhm"] = WAVES, np.full(3, 8.0)
        about["good_wavelengths"] = np.array([1, 0, 1], np.uint8)
        place = file.create_group("location")
        place["glt_x"] = np.array([[0, 1, 2], [3, 0, 1]], np.int32)
        place["glt_y"] = np.array([[0, 1, 1], [2, 0, 2]], np.int32)
        file.attrs["geotransform"] = [10.0, 0.5, 0, 50.0, 0, -0.5]
    return [folder / "EMIT.nc"]


def make_prisma(folder):
    with h5py.File(folder / "PRS.he5", "w") as file:
        fields = file.create_group("HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields")
        cube = CUBE.transpose(0, 2, 1)
        fields["VNIR_Cube"], fields["SWIR_Cube"] = cube, cube + 7
        file.attrs["List_Cw_Vnir"] = np.array([980.0, 700, 0])
        file.attrs["List_Cw_Swir"] = np.array([0.0, 2000, 950])
        for part in ("Vnir", "Swir"):
            file.attrs[f"L2Scale{part}Min"], file.attrs[f"L2Scale{part}Max"] = 0.1, 1.1
        file.attrs["Epsg_Code"] = 32631
        for corner, east, north in (("UL", 5e5, 4e6), ("LR", 5e5 + 60, 4e6 - 30)):
            file.attrs[f"Product_{corner}corner_easting"] = east
            file.attrs[f"Product_{corner}corner_northing"] = north
    return [folder / "PRS.he5"]


def make_npz(folder):
    paths = [folder / "a.npz", folder / "b.npz"]
    np.savez(paths[0], cube=CUBE, wavelength_nm=WAVES, scale=10000, crs="EPSG:4326")
    np.savez_compressed(paths[1], cube=CUBE, transform=np.arange(6.0), nodata=0)
    return paths


def make_npy(folder):
    paths = [folder / "a.npy", folder / "b.npy"]
    np.save(paths[0], CUBE)
    np.save(paths[1], np.asfortranarray(CUBE[..., 0].astype(np.float32)))
    return paths


def make_enmap(folder):
    write_tiff(folder / "E-SPECTRAL_IMAGE.TIF", values=CUBE.astype(np.int16))
    bands = "".join(
        f"<bandID number='{i}'><wavelengthCenterOfBand>{420 + i}</wavelengthCenterOfBand>"
        f"<FWHMOfBand>7</FWHMOfBand><GainOfBand>0.1</GainOfBand><OffsetOfBand>0</OffsetOfBand>"
        "</bandID>"
        for i in range(3)
    )
    (folder / "E-METADATA.XML").write_text(
        f"<level_X><bandCharacterisation>{bands}</bandCharacterisation></level_X>"
    )
    return [folder / "E-METADATA.XML"]


def make_tables(folder):
    (folder / "srf.csv").write_text("0.1,0.2\n0.3,0.4\n0.5,0.6\n")
    np.save(folder / "psf.npy", np.ones((3, 3)) / 9)
    savemat(folder / "srf.mat", {"R": np.ones((3, 2))})
    return [folder / "srf.csv", folder / "psf.npy", folder / "srf.mat"]


mat5 = Reader(make_mat5, read)
mat73 = Reader(make_mat73, read)
envi = Reader(make_envi, read)
geotiff = Reader(make_geotiff, read)
netcdf = Reader(make_netcdf, read)
emit = Reader(make_emit, read)
prisma = Reader(make_prisma, read)
npz = Reader(make_npz, read)
npy = Reader(make_npy, read)
enmap = Reader(make_enmap, read)
tables = Reader(make_tables, lambda path: numbers(path, "--srf"))

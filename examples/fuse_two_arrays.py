"""Fuse two arrays of a generated scene, look at what was learnt of the sensors, save a GeoTIFF."""

import numpy as np
from scipy.ndimage import gaussian_filter

import qr_cli as qr
from qr_cli.fuse import sensors
from qr_cli.fuse.metrics import evaluate
from qr_cli.fuse.simulate import kernel, simulate

generator = np.random.default_rng(0)
wavelengths = np.linspace(420, 880, 60)
spectra = gaussian_filter(generator.uniform(0.05, 0.7, (4, 60)), (0, 4))
shares = np.stack([gaussian_filter(generator.standard_normal((96, 96)), 2) for _ in range(4)], -1)
shares = np.exp(3 * shares / shares.std())
truth = shares / shares.sum(-1, keepdims=True) @ spectra

response = sensors.response(wavelengths, sensors.sensor("worldview2"))
pair = simulate(truth, response, kernel(4), snr_db=(35, 40))

fused = qr.fuse(pair.y, pair.z, wavelength_nm=wavelengths)  # nothing else is known
found = next(r for r in fused.records if r["event"] == "degradation")
print("PSF, full width at half maximum:", found["psf_fwhm_hr_px"], "HR pixels; true: 4")
print("noise:", next(r for r in fused.records if r["event"] == "noise"))
figures = evaluate(pair.reference, fused.array, ratio=4)
print(
    f"PSNR {figures['psnr_db']:.2f} dB ({figures['psnr_convention']}), SAM {figures['sam_deg']:.3f}"
)
print("written:", fused.save("fused.tif"))

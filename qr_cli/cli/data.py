"""`qr data NOUN VERB`: make, convert and check data sets."""

from __future__ import annotations

from qr_cli.cli.lazy import Stub, lazy_app

app = lazy_app(
    {
        "convert": Stub("qr_cli.cli.data_convert:app", "Official checkpoints to ours."),
        "geo": Stub("qr_cli.cli.data_geo:app", "Geometry: run programs, check proofs, convert."),
        "hsi": Stub("qr_cli.cli.data_hsi:app", "Hyperspectral images: simulate, look, convert."),
        "mhch": Stub("qr_cli.cli.data_mhch:app", "Dialogues for handoff models."),
        "surd": Stub("qr_cli.cli.data_surd:app", "Prompts and pictures for SUR-adapters."),
        "tiny-sd": Stub("qr_cli.cli.data_tiny_sd:app", "The tiny base of qr generate."),
    },
    help="Make, convert and check data sets.",
)

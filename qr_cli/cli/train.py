"""`qr train TASK`: from a recipe to a run folder."""

from __future__ import annotations

from qr_cli.cli.lazy import Stub, lazy_app

app = lazy_app(
    {
        "attention": Stub(
            "qr_cli.cli.train_attention:app", "An image classifier with an attention module."
        ),
        "sur-adapter": Stub(
            "qr_cli.cli.train_sur:app", "An adapter: plain sentences for a diffusion model."
        ),
        "geo": Stub("qr_cli.cli.train_geo:app", "A network that writes programs and proofs."),
        "handoff": Stub("qr_cli.cli.train_handoff:app", "When a human should take over."),
    },
    help="Train a model. Each run gets a folder with recipe, records, checkpoints and report.",
)

"""`qr eval TASK`: figures of what was trained."""

from __future__ import annotations

from qr_cli.cli.lazy import Stub, lazy_app

app = lazy_app(
    {
        "attention": Stub("qr_cli.cli.eval_attention:app", "Trained image classifiers."),
        "geo": Stub("qr_cli.cli.eval_geo:app", "Geometry problems with answers."),
        "fuse": Stub("qr_cli.cli.eval_fuse:app", "Fused images, with or without a reference."),
        "generate": Stub("qr_cli.cli.eval_generate:app", "Adapters for narrative prompts."),
        "handoff": Stub("qr_cli.cli.eval_handoff:app", "Handoff models."),
    },
    help="Evaluate what was trained, from its checkpoint alone.",
)

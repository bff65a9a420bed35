"""What can be named: judges of pictures, suites of prompts. Imports no torch."""

from __future__ import annotations

from qr_cli.registry import Entry, Registry

JUDGES = Registry(
    kind="judge",
    group="qr_cli.judges",
    listing="qr list generate",
    entries={
        "digit-cnn": Entry(
            "qr_cli.generate.judges:CnnJudge", "judge of digits: a network, 599 other pictures"
        ),
        "digit-knn": Entry(
            "qr_cli.generate.judges:KnnJudge", "judge of digits: 3 nearest of 599 other pictures"
        ),
        "tint": Entry(
            "qr_cli.generate.judges:TintJudge", "judge of tints: the direction of the mean colour"
        ),
        "classifier": Entry(
            "qr_cli.generate.classifier:ClassifierJudge",
            "classifier:RUN, a classifier that qr trained; rows need label.class",
        ),
        "vqa": Entry(
            "qr_cli.generate.vqa:VqaJudge",
            "vqa:FOLDER, a BLIP that answers questions; rows need question, answer",
        ),
    },
)
SUITES = Registry(
    kind="suite",
    group="qr_cli.suites",
    listing="qr list generate",
    entries={
        "tiny/seen": Entry("qr_cli.generate.suites:seen", "240 trained narratives"),
        "tiny/recombined": Entry(
            "qr_cli.generate.suites:recombined", "480 narratives: phrases trained, pairs not"
        ),
        "tiny/unseen": Entry(
            "qr_cli.generate.suites:unseen", "480 narratives of phrases never trained"
        ),
        "plain30": Entry(
            "qr_cli.generate.suites:plain30", "30 plain sentences: colour, counting, action"
        ),
        "dpg": Entry("qr_cli.generate.suites:text_files", "dpg:FOLDER, a folder of .txt prompts"),
    },
)

"""Corpora as they are published, to the one format of `mhch`: a table of names."""

from __future__ import annotations

from qr_cli.registry import Entry, Registry

READERS = Registry(
    "format",
    {
        "mhch": Entry("qr_cli.handoff.readers.pickles:read_mhch", "pickles of RSSN and CEM"),
        "dami": Entry("qr_cli.handoff.readers.pickles:read_dami", "pickles of DAMI"),
        "ssa": Entry("qr_cli.handoff.readers.ssa:read", "text files of the SSA corpora"),
        "cmhch": Entry("qr_cli.handoff.readers.cmhch:read", "JSON lines of the MHCH corpora"),
        "dbdc3": Entry("qr_cli.handoff.readers.dbdc3:read", "JSON of the breakdown challenge"),
    },
    group="qr_cli.handoff_readers",
    listing="qr data mhch convert --help",
)

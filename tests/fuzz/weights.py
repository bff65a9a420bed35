"""Weights and checkpoints: ours from their folders, other people's from their files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from fuzz.readers import Reader
from safetensors.torch import save_file
from torch import nn

STATE = {"conv.weight": torch.ones(2, 3), "conv.bias": torch.arange(2.0), "n": torch.tensor(3)}


# files ---------------------------------------------------------------------------------------


def make_safetensors(folder):
    save_file(STATE, folder / "a.safetensors")
    save_file({k: v.half() for k, v in STATE.items()}, folder / "b.safetensors", {"format": "pt"})
    return [folder / "a.safetensors", folder / "b.safetensors"]


def make_pth(folder):
    torch.save(STATE, folder / "a.pth")
    torch.save({"state_dict": STATE, "epoch": 3}, folder / "b.pth")
    torch.save(STATE, folder / "c.pth", _use_new_zipfile_serialization=False)
    return [folder / f"{name}.pth" for name in "abc"]


def read_weights(path):
    from qr_cli.attention.weights import read_file

    for value in read_file(path)[0].values():
        value.float().sum().item()


def read_geo_state(path):
    from qr_cli.geo.official import read_state

    for value in read_state(path).values():
        value.float().sum().item()


def make_adapter_pth(folder):
    torch.save({"a": torch.ones(2)}, folder / "adapterw0.1.pt")
    return [folder / "adapterw0.1.pt"]


def read_adapter_pth(path):
    from qr_cli.errors import WeightsError
    from qr_cli.generate.official import load_official

    try:
        load_official(path)
    except WeightsError as error:  # the start is a state dict, but of no adapter
        if "is no SUR-adapter" not in error.message:
            raise


def make_teacher(folder):
    from qr_cli.generate.teacher import Vectors, write_vectors

    found = Vectors(["a", "b"], torch.ones(2, 3), {"teacher": "t"})
    write_vectors(found, folder / "vectors.pt")
    write_vectors(found, folder / "ours")
    return [folder / "vectors.pt", *sorted((folder / "ours").iterdir())]


def read_teacher(path):
    from qr_cli.generate.teacher import read_vectors

    found = read_vectors(str(path if path.suffix == ".pt" else path.parent))
    if found is not None:
        found.of(["a"])


# folders -------------------------------------------------------------------------------------


def checkpoint(folder, card, state):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text(json.dumps(card))
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    return folder / "model.json"


def make_attention_run(folder):
    from qr_cli.attention.load import network

    card = {
        "task": "attention", "arch": "resnet8", "num_classes": 2, "module": "se", "stages": "auto",
        "blocks": None, "place": "auto", "identity_start": "auto", "seed": 0, "mean": [0.5] * 3,
        "std": [0.5] * 3, "classes": ["a", "b"], "input_size": [3, 8, 8], "srp": None,
    }  # fmt: skip
    home = folder / "checkpoints" / "epoch-0001"
    target = checkpoint(home, card, network(card).state_dict())
    pointer = folder / "latest.json"
    pointer.write_text(json.dumps({"checkpoint": "checkpoints/epoch-0001", "epoch": 1}))
    return [target, pointer]


def read_attention_run(path):
    from qr_cli.attention.load import load

    load(path.parent if path.name == "latest.json" else path.parents[2])


class Toy:
    """A prepared model, optimiser and schedule around one checkpoint of the engine."""

    def __init__(self, folder):
        from accelerate import Accelerator

        from qr_cli.engine.run import RunFolder

        self.accelerator = Accelerator(cpu=True)
        self.model = nn.Linear(2, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, 1)
        self.model, self.optimizer = self.accelerator.prepare(self.model, self.optimizer)
        self.run = RunFolder(folder)


_toys: dict[Path, Toy] = {}


def make_progress(folder):
    from qr_cli.engine import checkpoint as engine

    toy = _toys[folder] = Toy(folder)
    toy.model(torch.ones(1, 2)).sum().backward()
    toy.optimizer.step()
    engine.save(
        toy.accelerator, toy.run, engine.Progress(epoch=1, step=1), {"task": "toy"},
        models={"model": toy.model}, schedulers={"main": toy.schedule},
    )  # fmt: skip
    home = folder / "checkpoints" / "epoch-0001"
    names = ("progress.json", "model.safetensors", "optimizer.bin", "random_states_0.pkl")
    return [folder / "latest.json", *(home / name for name in names)]


def read_progress(path):
    from qr_cli.engine import checkpoint as engine

    folder = next(f for f in _toys if f in path.parents)
    toy = _toys[folder]
    kept = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    try:
        engine.load(toy.accelerator, toy.run, schedulers={"main": toy.schedule})
    finally:
        for file, content in kept.items():  # resuming tidies up
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)


def make_handoff_run(folder):
    import qr_cli.handoff

    shutil.copytree(Path(qr_cli.handoff.__file__).parent / "assets" / "dbdc3-en", folder / "run",
                    dirs_exist_ok=True)  # fmt: skip
    return [folder / "run" / f"{name}.json" for name in ("model", "vocab", "calibration")]


def read_handoff_run(path):
    from qr_cli.handoff.ask import ask
    from qr_cli.handoff.ask_recipe import Ask, Input

    event = path.parents[1] / "event.jsonl"
    if not event.exists():
        event.write_text('{"session_id": "s", "role": "customer", "text": "my order is late"}\n')
    recipe = Ask(input=Input(input=(str(event),), checkpoint=str(path.parent)))
    for _, record in ask(recipe):
        json.dumps(record)


def make_geo_run(folder):
    from qr_cli.geo import vocab
    from qr_cli.geo.tiny import Tiny
    from qr_cli.geo.weights import card

    model = Tiny(vocab.Vocabulary(), width=8, inner=8, layers=1, heads=1, vision=False)
    return [checkpoint(folder / "run", card(model), model.state_dict())]


def read_geo_run(path):
    from qr_cli.geo.weights import load_model

    load_model(str(path.parent))


def make_adapter(folder):
    from qr_cli.generate.adapter import SURAdapter
    from qr_cli.generate.folder import save_adapter

    adapter = SURAdapter(8, num_layers=1, num_heads=1, ffn_dim=4)
    save_adapter(adapter, folder / "adapter", card="a\n")
    return [folder / "adapter" / "config.json", folder / "adapter" / _weights(folder)]


def _weights(folder):
    return next((folder / "adapter").glob("*.safetensors")).name


def read_adapter(path):
    from qr_cli.generate.folder import find_adapter

    find_adapter(path.parent)


def make_base_folder(folder):
    parts = {
        "_class_name": "StableDiffusionPipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
    }
    (folder / "text_encoder").mkdir(exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(parts))
    (folder / "qr.json").write_text(json.dumps({"steps": 20}))
    (folder / "text_encoder" / "config.json").write_text('{"hidden_size": 64}')
    return [folder / "model_index.json", folder / "qr.json", folder / "text_encoder/config.json"]


def read_base_folder(path):
    from qr_cli.generate.base import base_folder, wishes
    from qr_cli.generate.parts import text_width

    folder = path.parents[path.name == "config.json"]
    wishes(base_folder(str(folder)))
    text_width(str(folder))


safetensors = Reader(make_safetensors, read_weights, (4,))
pth = Reader(make_pth, read_weights, (4,))
geo_pth = Reader(make_pth, read_geo_state, (4,))
adapter_pth = Reader(make_adapter_pth, read_adapter_pth, (4,))
teacher = Reader(make_teacher, read_teacher, (3, 4))
attention_run = Reader(make_attention_run, read_attention_run, (2, 4))
progress = Reader(make_progress, read_progress, (4,))
handoff_run = Reader(make_handoff_run, read_handoff_run, (4,))
geo_run = Reader(make_geo_run, read_geo_run, (4,))
adapter = Reader(make_adapter, read_adapter, (4,))
base_folder = Reader(make_base_folder, read_base_folder, (2, 3))

"""The tiny base: a complete diffusers folder of 2.7 MB that draws digits in six tints.

It stands to Stable Diffusion as a model railway to a train: the same parts (CLIP tokenizer and
text encoder, U-Net with cross-attention, VAE, scheduler), the same pipeline class, the text
encoder frozen while the U-Net learns to read it. The U-Net sees keyword prompts only, so that a
plain sentence means nothing to it. Latents are 3x8x8, pictures 64x64.
The text encoder is random: trained together with the U-Net it kept too little of which words were
in the prompt for an adapter to find them (see docs/generate.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import (
    ConfigMixin,
    DDIMScheduler,
    ModelMixin,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.configuration_utils import register_to_config
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from qr_cli.generate import world

TOKENS = 32
DEFAULTS = {"steps": 12, "guidance": 3.0, "eta": 1.0, "world": world.VERSION}
_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_VOCABULARY = 2048  # asked for; every word of the world is one token well before that
_EMBEDDING_SEED = 20230509


class TinyVAE(ModelMixin, ConfigMixin):
    """An autoencoder without weights: 8x8 area mean down, bicubic interpolation up.

    Its four "block channels" give the factor of 8 that diffusers derives from their number.
    """

    @register_to_config
    def __init__(
        self,
        scaling_factor: float = 1.0,
        block_out_channels: tuple[int, ...] = (1, 1, 1, 1),
        latent_channels: int = 3,
        force_upcast: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("placeholder", torch.zeros(1))  # a device, a dtype, a file to save

    def encode(self, pixels: Tensor, return_dict: bool = True) -> Any:
        """(B, 3, H, W) in [-1, 1] -> a distribution without spread over (B, 3, H/8, W/8)."""
        point = _Point(avg_pool2d(pixels, 8))
        return SimpleNamespace(latent_dist=point) if return_dict else (point,)

    def decode(self, latents: Tensor, return_dict: bool = True, generator: Any = None) -> Any:
        """(B, 3, h, w) -> (B, 3, 8h, 8w) in [-1, 1]."""
        pixels = interpolate(latents, scale_factor=8, mode="bicubic").clamp(-1, 1)
        return SimpleNamespace(sample=pixels) if return_dict else (pixels,)


class _Point:
    """What `encode` returns: a "distribution" that is always its mean."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean
        self.logvar = torch.full_like(mean, -30.0)

    def sample(self, generator: Any = None) -> Tensor:
        return self.mean

    def mode(self) -> Tensor:
        return self.mean


def tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer for which every word of the world is one token, 32 tokens long.

    Byte-level: whatever else is typed becomes several tokens, never an unknown one.
    """
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY, min_frequency=1, show_progress=False, end_of_word_suffix="</w>"
    )
    bpe.train_from_iterator(_corpus(), trainer)
    learned = json.loads(bpe.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(f"{x}</w>" for x in letters), *("".join(p) for p in merges), _START, _END]
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=TOKENS, pad_token=_END)


def text_encoder(words: CLIPTokenizer) -> CLIPTextModel:
    """Return the frozen, random text encoder: width 64, two layers, four heads."""
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        projection_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=TOKENS,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    with _seeded(0):
        encoder = CLIPTextModel(config)
    draw = torch.Generator().manual_seed(_EMBEDDING_SEED)
    tables = encoder.get_submodule(
        next(name for name, _ in encoder.named_modules() if name.endswith("embeddings"))
    )
    with torch.no_grad():  # the default words are too small to be told apart after two layers
        tables.token_embedding.weight.normal_(0, 0.5, generator=draw)
        tables.position_embedding.weight.normal_(0, 0.2, generator=draw)
    return encoder.requires_grad_(False).eval()


def unet(seed: int) -> UNet2DConditionModel:
    """Return the untrained U-Net (1,190,931 parameters)."""
    with _seeded(seed):
        return UNet2DConditionModel(
            sample_size=8,
            in_channels=3,
            out_channels=3,
            block_out_channels=(48, 64),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            attention_head_dim=4,
            norm_num_groups=8,
            cross_attention_dim=64,
        )


def scheduler() -> DDIMScheduler:
    """Return the scheduler. With clip_sample, clipped pictures and unclipped noise disagree."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,  # unused with this spacing; diffusers warns of 0
    )


def pipeline(seed: int = 0) -> Any:
    """Return the base with an untrained U-Net drawn from `seed`."""
    words = tokenizer()
    encoder = text_encoder(words)
    return StableDiffusionPipeline(
        vae=TinyVAE(),
        text_encoder=encoder,
        tokenizer=words,
        unet=unet(seed),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def save(pipe: Any, folder: Path) -> None:
    """Write the base as a diffusers folder in float16, with the defaults of `qr generate`."""
    words = pipe.tokenizer.backend_tokenizer
    words.no_padding()  # which the last call of it has set
    words.no_truncation()
    pipe.to(torch.float16).save_pretrained(folder)
    path = folder / "text_encoder" / "config.json"  # whose dtype decides how it is loaded
    config = json.loads(path.read_text("utf-8")) | {"dtype": "float32"}
    path.write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    (folder / "qr.json").write_text(json.dumps(DEFAULTS) + "\n", "utf-8")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from `seed` inside, and leave the generator of the process as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _corpus() -> Iterator[str]:
    """Yield what the tokenizer learns its words from."""
    prompts: Iterable[str] = (
        f"{prompt}, digit, ink, {', '.join(world.TAGS)}"
        for prompt, _, _ in world.canonical_prompts()
    )
    yield from prompts
    for split in ("train", "unseen"):
        yield from (narrative.text for narrative in world.narratives(split))

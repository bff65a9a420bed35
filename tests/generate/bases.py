"""Parts of Stable Diffusion pipelines of the real layout with few random weights, and adapters."""

import json

import torch


def tokenizer_files(folder):
    """Write a CLIP tokenizer of single bytes: 512 letters, no merges, start and end."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder.mkdir(parents=True, exist_ok=True)
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")


def tokenizer(folder, length=77):
    from transformers import CLIPTokenizer

    tokenizer_files(folder)
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=length
    )


def text_encoder(width=768, heads=12, words=514):
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=words,
            hidden_size=width,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=heads,
            max_position_embeddings=77,
            projection_dim=width,
            bos_token_id=words - 2,
            eos_token_id=words - 1,
            pad_token_id=words - 1,
        )
    ).eval()


def unet(width=768, channels=4):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(32, 64, 64, 64),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        layers_per_block=1,
        attention_head_dim=8,
        cross_attention_dim=width,
    ).eval()


def components(folder, *, version=1):
    """Return the parts of a pipeline of SD 1.x or 2.x layout with random weights."""
    from diffusers import AutoencoderKL, PNDMScheduler

    torch.manual_seed(0)
    width, heads = {1: (768, 12), 2: (1024, 16)}[version]
    return {
        "vae": AutoencoderKL(
            block_out_channels=(32, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            layers_per_block=1,
            scaling_factor=0.18215,
        ).eval(),
        "text_encoder": text_encoder(width, heads),
        "tokenizer": tokenizer(folder / "words"),
        "unet": unet(width),
        "scheduler": PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
            set_alpha_to_one=False,
            prediction_type="v_prediction" if version == 2 else "epsilon",
        ),
        "safety_checker": None,
        "feature_extractor": None,
    }


def make_adapter(width=768, **settings):
    """Return a small adapter whose last layer is not zero, so that it does something."""
    from qr_cli.generate.adapter import SURAdapter

    torch.manual_seed(1)
    adapter = SURAdapter(width, ffn_dim=settings.pop("ffn_dim", 32), **settings)
    torch.nn.init.normal_(adapter.fc.weight, std=0.05)
    return adapter.eval()

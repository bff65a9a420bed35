"""Draw a sentence with and without an adapter, through a plain diffusers pipeline."""

import torch

import qr_cli as qr
from qr_cli.generate.base import load_base

pipe = load_base("tiny")  # or StableDiffusionPipeline.from_pretrained(FOLDER)
prompt = "someone counted the legs of a spider and wrote the result in the colour of a strawberry"


def draw():
    noise = torch.Generator().manual_seed(0)
    return pipe(prompt, num_inference_steps=12, guidance_scale=3.0, generator=noise).images[0]


draw().save("without.png")
with qr.attach(pipe, "tiny") as attached:
    draw().save("with.png")
    attached.eta = 0.5
    draw().save("half.png")
print("wrote without.png, with.png, half.png")

"""Train a network on generated shapes and see where it looks: 24 images with their heat maps.

    python where_does_it_look.py                        # a rehearsal of seconds: it learns little
    python where_does_it_look.py --arch resnet20 --train 10000 --test 2000 --epochs 10 --size 32

Writes where_does_it_look.png and prints the shares of the run beside those of chance.
"""

import argparse
from pathlib import Path

import qr_cli as qr
from qr_cli.attention.augment import Fetch
from qr_cli.attention.bias import examine
from qr_cli.attention.bias_plots import panel_plot
from qr_cli.attention.data import read
from qr_cli.engine.figures import LIGHT, render

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("--arch", default="resnet8")
parser.add_argument("--module", default="se")
parser.add_argument("--train", type=int, default=1000, help="training images")
parser.add_argument("--test", type=int, default=200, help="test images")
parser.add_argument("--size", type=int, default=16, help="side of the images in pixels")
parser.add_argument("--context", type=float, default=0.6, help="share of tell-tale backgrounds")
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--out", type=Path, default=Path("."), help="folder of the run and picture")
args = parser.parse_args()

data = f"shapes(train={args.train},test={args.test},size={args.size},context={args.context})"
run = qr.run(
    "train", "attention", arch=args.arch, module=args.module, data=data, epochs=args.epochs,
    name="where-does-it-look", out=str(args.out / "runs"), overwrite=True,
)  # fmt: skip

net = qr.load(run.folder)
images = read(data, splits=("test",)).test
fetch = Fetch(images, mean=net.mean, std=net.std, train=False)
found = examine(net, images, fetch)
plot = panel_plot(net, fetch, found, run=f"{args.module}, {args.epochs} epochs")

summary = found.bias.summary()
for name in ("position", "range", "unbiased", "energy", "chance_energy"):
    print(f"{name:14s} {summary[name]:.3f}")
if plot is not None:
    picture = args.out / "where_does_it_look.png"
    picture.write_bytes(render(plot.draw(LIGHT), "png", title=plot.title))
    print("wrote", picture)

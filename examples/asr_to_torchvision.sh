#!/bin/sh
# Train torchvision's ResNet-18 with ASR(SE), fold it, load the plain file into torchvision itself.
set -e
qr train attention --arch "torchvision:resnet18(stem=cifar)" --module "asr(se)" \
  --data "shapes(train=64,test=20)" --epochs 1 --name asr-r18 --quiet
qr reparam runs/attention/asr-r18 --out deployed --repeats 0 --json |
  python3 -c "import json, sys
for line in sys.stdin:
    row = json.loads(line)
    if row['event'] == 'summary':
        print(row['folded'], 'folded; parameters', row['params'])"
python3 - <<'PYTHON'
from safetensors.torch import load_file
from torch import nn
from torchvision.models import resnet18

net = resnet18(num_classes=10)
net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
net.load_state_dict(load_file("deployed/plain.safetensors"), strict=True)
print("torchvision's own class has loaded the folded weights, strict=True")
PYTHON

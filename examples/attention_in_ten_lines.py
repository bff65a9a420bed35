"""Put attention into a torchvision network and use a module on its own."""

import torch
import torchvision

import qr_cli as qr

images = torch.randn(2, 3, 64, 64)
net = torchvision.models.resnet18(weights=None).eval()
before = net(images)

qr.attach(net, "lsas(eca,order=2)", stages="all", identity_start=True)
print("modules:", len(list(qr.iter_attention(net))))
print("logits unchanged:", torch.equal(net(images), before))

gate = qr.create_attention("lsas(se)", channels=256)
feature = torch.randn(2, 256, 7, 7)
print("gate:", tuple(gate.gate(feature).shape), "output:", tuple(gate(feature).shape))

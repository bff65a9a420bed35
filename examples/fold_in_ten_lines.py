"""Train two steps' worth of ASR(SE), fold it, and load the result into the plain network."""

import torch

import qr_cli as qr

run = qr.run("train", "attention", arch="resnet8", module="asr(se)",
             data="shapes(train=64,test=20)", epochs=1)  # fmt: skip
model, example = qr.load(run.folder), torch.zeros(2, 3, 32, 32)
result = qr.reparam.fold(model, example)
check = qr.reparam.verify(model, result, example)
plain = qr.create_backbone("resnet8", num_classes=10)
plain.load_state_dict(result.plain_state, strict=True)
print(f"{len(result.folded)} folded, float64 error {check.float64:.0e}, equal: {check.ok}")

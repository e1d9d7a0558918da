#!/usr/bin/env bash
# bitsandbytes 0.50.2 on CPUs with AVX512-BF16: one inference takes the gradients from a 4-bit layer.
#
# A forward without gradients in eval mode repacks the weights of Linear4bit for a faster product, for
# good. That product has no backward: from then on the layer passes no gradient to its input, also in
# training mode, and float32 inputs are multiplied in bfloat16. All that torch says is a UserWarning.
# An adapter below such a layer learns nothing. Seen here: a gradient of norm 20.3 before the
# inference, 0.0 after it. Other processors keep the slow product and are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check bitsandbytes==0.50.2 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PY'
import torch
from bitsandbytes.nn import Linear4bit

torch.manual_seed(0)
layer = Linear4bit(128, 128, bias=False, compute_dtype=torch.float32, quant_type="nf4")
layer = layer.to("cpu").eval()
below = torch.randn(4, 128, requires_grad=True)


def measure_gradient() -> float:
    below.grad = None
    output = layer(below * 1)
    if output.requires_grad:
        output.square().sum().backward()
    return 0.0 if below.grad is None else float(below.grad.norm())


before = measure_gradient()
with torch.no_grad():
    layer(torch.randn(4, 128))
after = measure_gradient()
layer.train()
in_training = measure_gradient()
print(f"gradient {before:.1f} before an inference, {after:.1f} after it, {in_training:.1f} in train()")
assert before > 1
if not torch.cpu._is_avx512_bf16_supported():
    raise SystemExit("this processor has no AVX512-BF16; nothing to show")
assert after == in_training == 0, "the behavior changed: the gradient arrives now"
PY

#!/usr/bin/env bash
# transformers 5.23.0: Falcon with ALiBi gives other logits with eager attention than with sdpa.
#
# The position bias is part of the causal mask that the model hands to every layer. The eager branch
# adds that mask and then adds the bias once more, so it counts twice. Models such as falcon-rw-1b
# have ALiBi. Seen here, in float32: logits of standard deviation 0.84 differ by up to 0.41; with
# rotary positions in place of ALiBi they differ by 1e-6.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check transformers==5.23.0 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from transformers import FalconConfig, FalconForCausalLM


def compare(alibi: bool) -> float:
    torch.manual_seed(0)
    config = FalconConfig(
        vocab_size=100, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, alibi=alibi,
        multi_query=False, parallel_attn=False, initializer_range=0.1,
    )
    model = FalconForCausalLM(config).eval()
    ids = torch.randint(0, 100, (1, 24))
    logits = {}
    with torch.no_grad():
        for kind in ("sdpa", "eager"):
            same = FalconForCausalLM._from_config(config, attn_implementation=kind).eval()
            same.load_state_dict(model.state_dict())
            logits[kind] = same(ids).logits
    return float((logits["sdpa"] - logits["eager"]).abs().max())


with_alibi, without = compare(True), compare(False)
print(f"largest difference of logits: {with_alibi:.2g} with ALiBi, {without:.2g} without")
assert with_alibi > 0.1, "the behavior changed: eager attention and sdpa agree now"
assert without < 1e-4
PY

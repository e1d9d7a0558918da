#!/usr/bin/env bash
# peft 0.21.2 with transformers 5: LoraConfig() works on Mistral and fails on Mixtral, although PEFT
# lists the default targets of both (q_proj and v_proj).
#
# For Mixtral (and others whose experts transformers 5 has fused), PEFT first rewrites the targets of
# the config. That turns "no targets given" into an empty set, and the defaults are filled in only
# later and only if no targets were given. So nothing is found, and the error asks for
# `target_parameters`. With target_modules=["q_proj", "v_proj"], the listed defaults, it works.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check peft==0.21.2 transformers==5.23.0 torch==2.13.0 numpy==2.3.5
"$folder/venv/bin/python" -W ignore - <<'PY'
from peft import LoraConfig, get_peft_model
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as DEFAULTS
from transformers import AutoModelForCausalLM, MistralConfig, MixtralConfig

SIZES = {
    "vocab_size": 100, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}
assert DEFAULTS["mistral"] == DEFAULTS["mixtral"] == ["q_proj", "v_proj"]
seen = {}
for config in (MistralConfig(**SIZES), MixtralConfig(**SIZES, num_local_experts=4)):
    for options in ({}, {"target_modules": ["q_proj", "v_proj"]}):
        model = AutoModelForCausalLM.from_config(config)
        try:
            found = get_peft_model(model, LoraConfig(**options)).targeted_module_names
            seen[config.model_type, bool(options)] = f"{len(found)} modules"
        except ValueError as error:
            seen[config.model_type, bool(options)] = str(error)
for (family, named), what in seen.items():
    print(f"{family}, {'targets named' if named else 'default targets'}: {what}")
assert seen["mistral", False] == seen["mistral", True] == seen["mixtral", True] == "4 modules"
assert "no `target_parameters` found" in seen["mixtral", False], "the behavior changed"
PY

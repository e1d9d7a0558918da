#!/usr/bin/env bash
# safetensors 0.8.0: saving the same tensors with the same metadata gives different bytes each time.
#
# The tensors of a file are sorted, its metadata keys are not: they come in the random order of a
# Rust hash map, also within one process. Files with two or more metadata keys cannot be compared by
# checksum. Seen here: 30 saves of one tensor with 4 metadata keys gave 17 different files (the number varies); without
# metadata they gave 1. (Reported upstream as safetensors issue 584.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PY'
import numpy
from safetensors.numpy import save

tensors = {"a": numpy.zeros(2, dtype="float32"), "b": numpy.ones(3, dtype="float32")}
metadata = {"format": "pt", "base": "x", "kind": "lora", "version": "1"}
with_metadata = {save(tensors, metadata) for _ in range(30)}
without = {save(tensors) for _ in range(30)}
print(f"{len(with_metadata)} different files with metadata, {len(without)} without")
assert len(with_metadata) > 1, "the behavior changed: metadata is written in a fixed order now"
assert len(without) == 1
PY

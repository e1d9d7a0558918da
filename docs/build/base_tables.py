"""Writes the tables of memory and of fast ways into docs/bases.md, between their marks.

    python docs/build/base_tables.py [--check]

Memory is computed by the function that `idiolect base check` uses, for the shapes of public models;
no weights are needed. `--check` only says if the page is out of date.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from idiolect.adapters.lora import LoraConfig
from idiolect.cli.formatting import format_bytes
from idiolect.models.ways import WAY_COSTS
from idiolect.training.base_report.memory_estimate import PRECISIONS, estimate_memory
from idiolect.training.base_report.model_sizes import measure_sizes

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "bases.md"
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "0.1 billion (SmolLM2-135M)": {
        "vocab_size": 49_152,
        "hidden_size": 576,
        "intermediate_size": 1_536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
    "1 billion (Llama 3.2 1B)": {
        "vocab_size": 128_256,
        "hidden_size": 2_048,
        "intermediate_size": 8_192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "8 billion (Llama 3.1 8B)": {
        "vocab_size": 128_256,
        "hidden_size": 4_096,
        "intermediate_size": 14_336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "70 billion (Llama 3.1 70B)": {
        "vocab_size": 128_256,
        "hidden_size": 8_192,
        "intermediate_size": 28_672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
    },
}
"""Configs of Llama models of these sizes."""


@functools.cache
def build_memory_table() -> str:
    """Return a row for each size and precision, as Markdown."""
    rows = [
        "| parameters | weights in | weights | training, each person | training, whole | serving |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    lora = LoraConfig()
    for title, shape in SHAPES.items():
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(LlamaConfig(**shape))
        sizes, adapter = measure_sizes(model), lora.count_parameters(model)
        for precision in PRECISIONS:
            made = estimate_memory(sizes, precision, adapter)
            cells = map(format_bytes, (made.base, made.person, made.train, made.serve))
            rows.append(f"| {title} | {precision} | {' | '.join(cells)} |")
    return "\n".join(rows)


def build_ways_table() -> str:
    """Return a row for each fast way, as Markdown."""
    rows = [f"| {way} | {costs} |" for way, costs in WAY_COSTS.items()]
    return "\n".join(["| way | if it is off |", "| --- | --- |", *rows])


def fill_page(page: str) -> str:
    """Return the page with both tables between their marks."""
    for name, table in (("memory", build_memory_table()), ("ways", build_ways_table())):
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        head, rest = page.split(begin)
        page = f"{head}{begin}\n{table}\n{end}{rest.split(end)[1]}"
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the tables; 0 if all is well."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/bases.md.")
    parser.add_argument("--check", action="store_true", help="Only say if the page is out of date.")
    options = parser.parse_args(arguments)
    old = PAGE.read_text(encoding="utf-8")
    new = fill_page(old)
    if options.check and new != old:
        print("docs/bases.md: a table is out of date; run: make docs", file=sys.stderr)
        return 1
    if new != old:
        PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Which modules ``lora.targets`` means, on models of many families."""

from __future__ import annotations

import re
from functools import cache

import peft
import pytest
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFT_DEFAULTS

from idiolect.adapters.kinds import config_from_header, config_to_header
from idiolect.adapters.lora import LoraConfig, target_modules
from idiolect.adapters.targets.peft_rules import find_refused_modules, get_default_targets
from idiolect.errors import MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from support.random_bases import make_random_base

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
make_base = cache(make_random_base)
ALL_LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def list_paths(base: Base, *targets: str) -> list[str]:
    return [module.path for module in target_modules(base.model, LoraConfig(targets=targets))]


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("llama", ("q_proj", "v_proj")),
        ("olmo2", ("q_proj", "v_proj")),  # not in PEFT's list
        ("opt", ("v_proj", "q_proj")),
        ("gpt2", ("c_attn",)),
        ("falcon", ("query_key_value",)),
        ("gpt_neox", ("query_key_value",)),
        ("phi3", ("qkv_proj",)),
        ("deepseek_v3", ("q_a_proj", "kv_a_proj_with_mqa")),
        ("mamba", ("in_proj",)),
    ],
)
def test_resolve_for_finds_attention_of_family(family: str, names: tuple[str, ...]) -> None:
    base = make_base(family)
    found = LoraConfig().resolve_for(base.model)
    assert found.targets == names
    assert found.resolve_for(base.model) == found
    assert len(target_modules(base.model, found)) == 2 * len(names)
    assert found.fan_in_fan_out is (True if family == "gpt2" else None)


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("llama", ("q_proj", "v_proj", "o_proj", "down_proj")),
        ("opt", ("v_proj", "q_proj", "out_proj", "fc2")),
        ("gpt2", ("c_attn", "c_proj")),
        ("falcon", ("query_key_value", "dense", "dense_4h_to_h")),
        ("mamba", ("in_proj",)),
    ],
)
def test_resolve_for_finds_outputs_of_attention_and_mlp(
    family: str, names: tuple[str, ...]
) -> None:
    found = LoraConfig(targets=("auto-wide",)).resolve_for(make_base(family).model)
    assert found.targets == names


def test_known_targets_are_those_of_peft() -> None:
    model = make_tiny_base().model
    default = get_default_targets(model)
    assert isinstance(default, tuple) and list(default) == PEFT_DEFAULTS["llama"]
    assert not find_refused_modules(model, target_modules(model, LoraConfig(targets=ALL_LLAMA)))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_all_linear_means_the_modules_of_peft(family: str) -> None:
    paths = list_paths(make_base(family), "all-linear")
    config = peft.LoraConfig(target_modules="all-linear", fan_in_fan_out=family == "gpt2")
    theirs = peft.get_peft_model(make_random_base(family).model, config)
    assert sorted(paths) == sorted(theirs.targeted_module_names)


def test_all_linear_leaves_out_what_peft_refuses() -> None:
    names = {path.rpartition(".")[2] for path in list_paths(make_base("mamba"), "all-linear")}
    assert names == {"in_proj", "x_proj", "dt_proj"}
    names = {path.rpartition(".")[2] for path in list_paths(make_base("deepseek_v3"), "all-linear")}
    assert "o_proj" in names and "down_proj" not in names


def test_select_modules_matches_regular_expression_with_whole_path() -> None:
    base = make_tiny_base()
    assert list_paths(base, r".*\.1\..*\.(q|k)_proj") == [
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.self_attn.k_proj",
    ]
    with pytest.raises(UsageError, match=r"lora\.targets.*q_proj \(2\)"):
        list_paths(base, r"self_attn\.(q|k)_proj")


def test_resolve_for_names_whole_paths_if_last_parts_mean_more() -> None:
    base = make_base("gpt2")
    found = LoraConfig(targets=("attn.c_proj",)).resolve_for(base.model)
    assert found.targets == tuple(f"transformer.h.{n}.attn.c_proj" for n in (0, 1))
    top = LoraConfig(targets=("attn.c_proj",), top_layers=1).resolve_for(base.model)
    assert top.targets == ("transformer.h.1.attn.c_proj",)
    assert top.resolve_for(base.model) == top
    # A suffix that means all modules of a name is written as the name.
    assert LoraConfig(targets=("attn.c_attn",)).resolve_for(base.model).targets == ("c_attn",)


def test_resolve_for_leaves_out_image_part() -> None:
    base = make_base("gemma3")
    found = LoraConfig().resolve_for(base.model)
    assert found.targets == tuple(
        f"model.language_model.layers.{n}.self_attn.{name}"
        for n in (0, 1)
        for name in ("q_proj", "v_proj")
    )
    with pytest.raises(UsageError, match="'out_proj' in its text part; it has o_proj"):
        list_paths(base, "out_proj")


def test_select_modules_lists_names_for_a_missing_one() -> None:
    with pytest.raises(UsageError) as error:
        list_paths(make_tiny_base(), "q_prj")
    assert "no linear module named 'q_prj'; it has q_proj (2), " in str(error.value)
    assert re.search(r"o_proj \(2\), .*gate_proj \(2\).*down_proj \(2\)", str(error.value))


@pytest.mark.parametrize(
    ("family", "targets", "name"),
    [
        ("mamba", ("in_proj", "out_proj"), "out_proj"),
        ("deepseek_v3", ("o_proj", "down_proj"), "down_proj"),
    ],
)
def test_check_model_refuses_what_peft_cannot_load(
    family: str, targets: tuple[str, ...], name: str
) -> None:
    with pytest.raises(UsageError, match=rf"PEFT cannot load adapters on {name} .*all-linear"):
        LoraConfig(targets=targets).check_model(make_base(family).model)
    LoraConfig(targets=targets[:1]).check_model(make_base(family).model)


@pytest.mark.parametrize("targets", [(), ("auto", "q_proj"), ("q_proj", ".*"), ("(q_proj",)])
def test_lora_config_rejects_mixed_and_broken_targets(targets: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"lora\.targets"):
        LoraConfig(targets=targets)


@pytest.mark.parametrize("target", ["auto", "all-linear", "(a+)+b"])
def test_config_from_header_rejects_targets_that_are_no_names(target: str) -> None:
    head = config_to_header(LoraConfig(targets=(target,)))
    with pytest.raises(MismatchError, match="names of modules"):
        config_from_header(head, where="store.json")

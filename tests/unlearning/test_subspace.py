"""Projection of deltas off retain directions, against a full SVD of each module's inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.structure import find_decoder
from idiolect.models.tiny import make_tiny_base
from idiolect.models.ways import Ways
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.unlearning.examples import tokenize_pairs
from idiolect.unlearning.methods.finetune import FineTune
from idiolect.unlearning.methods.ga_mismatch import GradientAscentMismatch
from idiolect.unlearning.methods.gradient_ascent import GradientAscent
from idiolect.unlearning.methods.protocol import UnlearningMethod
from idiolect.unlearning.methods.task_vector import TaskVector
from idiolect.unlearning.subspace import project_out, top_singular_vectors
from idiolect.unlearning.train import train_on_sets
from idiolect.unlearning.trainee import WeightDelta
from support.job_strategies import relative_difference
from support.odd_families import make_family_base, make_family_lora
from support.random_bases import make_random_base
from support.unlearning_sets import CONFIG, RETAIN, render_sets

COUNT = 3


def train_delta(
    base: Base, spare: int, method: UnlearningMethod | None = None, **changes: object
) -> object:
    config = replace(CONFIG, spare=spare, **changes)
    return train_on_sets(
        base, None, render_sets(base, config), method or TaskVector(), config
    ).delta


def train_adapter(base: Base, spare: int, lora: LoraConfig = CONFIG.lora) -> LoraAdapter:
    made = train_delta(base, spare, lora=lora)
    assert isinstance(made, LoraAdapter)
    return made


def list_retain_examples(base: Base) -> list[Example]:
    prompter = PromptRenderer(base.tokenizer, CONFIG.prompt)
    items = tokenize_pairs(prompter, RETAIN, answer_tokens=CONFIG.answer_tokens)
    return [item.example for item in items]


def record_inputs(base: Base, path: str) -> Tensor:
    """Return a module's inputs on all retain text [N, D], one example after the other."""
    rows: list[Tensor] = []
    module = base.model.get_submodule(path)
    hook = module.register_forward_pre_hook(lambda _, args: rows.append(args[0].flatten(0, -2)))
    with torch.no_grad():
        for example in list_retain_examples(base):
            base.model(input_ids=torch.tensor([example.ids[:-1]]))
    hook.remove()
    return torch.cat(rows)


@pytest.mark.parametrize(("rows", "width"), [(40, 8), (8, 40)])
def test_top_singular_vectors_match_svd(rows: int, width: int) -> None:
    rng = np.random.default_rng(0)
    values = np.array([30.0, 20.0, 10.0, 2.0, 1.0, 0.5])
    left, right = (np.linalg.qr(rng.normal(size=(n, 6)))[0] for n in (rows, width))
    inputs = torch.from_numpy((left * values) @ right.T).float()
    found = top_singular_vectors(inputs, 3).double().numpy()
    assert found.shape == (3, width)
    wanted = right[:, :3].T
    assert np.abs(found.T @ found - wanted.T @ wanted).max() < 1e-4
    assert torch.equal(top_singular_vectors(inputs, 3), top_singular_vectors(inputs, 3))


@pytest.mark.parametrize(("rows", "width"), [(40, 8), (8, 40)])
def test_top_singular_vectors_are_fewer_for_low_rank_inputs(rows: int, width: int) -> None:
    two = torch.randn(2, width, generator=torch.Generator().manual_seed(0))
    inputs = two[torch.arange(rows) % 2]
    found = top_singular_vectors(inputs, 5)
    assert found.shape == (2, width)
    assert (inputs - inputs @ found.T @ found).norm() < 1e-4 * inputs.norm()


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_project_out_retain_removes_only_largest_input_directions(family: str) -> None:
    base = make_tiny_base() if family == "llama" else make_family_base(family)
    lora = CONFIG.lora if family == "llama" else make_family_lora(family)
    plain, kept = train_adapter(base, 0, lora), train_adapter(base, COUNT, lora)
    assert set(kept.pairs) == set(plain.pairs)
    for path, (a, b) in plain.pairs.items():
        inputs = record_inputs(base, path)
        width = inputs.shape[1]
        # Reference: remove the largest right singular vectors from the input side of W.
        _, _, vectors = torch.linalg.svd(inputs, full_matrices=False)
        largest = vectors[: min(COUNT, width // 8)]
        wanted = (b @ a) @ (torch.eye(width) - largest.T @ largest)
        found = kept.pairs[path][1] @ kept.pairs[path][0]
        assert (found - wanted).norm() <= 1e-3 * (b @ a).norm()
        assert (found @ inputs.T).norm() < (b @ a @ inputs.T).norm()


def test_train_on_sets_is_the_same_in_single_rows() -> None:
    base = make_tiny_base(dtype=torch.float64)
    together = train_adapter(base, COUNT)
    alone = train_adapter(replace(base, ways=Ways(batched=False)), COUNT)
    assert relative_difference(alone, together) <= 1e-6


def test_train_on_sets_refuses_answers_on_flat_targets() -> None:
    base = make_family_base("opt")
    with pytest.raises(UsageError, match=r"lora\.active.*'fc1'"):
        train_adapter(base, 0, make_family_lora("opt", active="answer"))


def test_project_out_retain_changes_only_linear_weights_of_full_delta() -> None:
    base = make_tiny_base()
    plain, kept = (
        train_delta(base, spare, parameters="full", train=replace(CONFIG.train, rate=1e-3))
        for spare in (0, COUNT)
    )
    assert isinstance(plain, WeightDelta) and isinstance(kept, WeightDelta)
    linear = {
        f"{path}.weight"
        for path, module in find_decoder(base.model).named_modules(prefix="model")
        if isinstance(module, nn.Linear)
    }
    assert linear and linear < set(plain.tensors)
    changed = {name for name, t in plain.tensors.items() if not torch.equal(t, kept.tensors[name])}
    assert changed == linear


def test_project_out_projects_the_inputs_of_transposed_weights() -> None:
    base = make_random_base("gpt2")
    path = "transformer.h.0.attn.c_attn"
    generator = torch.Generator().manual_seed(0)
    update_DO = torch.randn(32, 96, generator=generator)
    delta = WeightDelta(base=base.identity, tensors={f"{path}.weight": update_DO})
    direction_KD = torch.nn.functional.normalize(torch.randn(1, 32, generator=generator))
    found = project_out(base, delta, {path: direction_KD})
    assert isinstance(found, WeightDelta)
    kept_DO = found.tensors[f"{path}.weight"]
    assert (direction_KD @ kept_DO).abs().max() <= 1e-5 < (direction_KD @ update_DO).abs().max()


def test_project_out_handles_no_directions_and_all_directions() -> None:
    base = make_tiny_base()
    plain = train_adapter(base, 0)
    path, (a, _) = next(iter(plain.pairs.items()))
    same, none = (
        project_out(base, plain, {path: d})
        for d in (torch.zeros(0, a.shape[1]), torch.eye(a.shape[1]))
    )
    assert isinstance(same, LoraAdapter) and isinstance(none, LoraAdapter)
    assert torch.equal(same.pairs[path][0], a)
    assert not none.pairs[path][0].any()


@pytest.mark.parametrize(
    ("method", "projects"),
    [
        (TaskVector(), True),
        (GradientAscent(), True),
        (FineTune(), False),
        (GradientAscentMismatch(), False),
    ],
)
def test_train_on_sets_projects_only_for_methods_without_retain_answers(
    method: UnlearningMethod, projects: bool
) -> None:
    base = make_tiny_base()
    plain, other = (train_delta(base, spare, method) for spare in (0, COUNT))
    assert isinstance(plain, LoraAdapter) and isinstance(other, LoraAdapter)
    same = all(torch.equal(a, other.pairs[path][0]) for path, (a, _) in plain.pairs.items())
    assert same is not projects


def test_config_rejects_negative_spare() -> None:
    with pytest.raises(UsageError, match="spare: must be 0"):
        replace(CONFIG, spare=-1)

"""Whatever the family of the base: adapters, exports and answers equal the plain way's, or the base
is refused in clear words.

The plain way (``support/family_training.py``) is PEFT and torch's AdamW around transformers'
default attention, one row at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from docs.build.bases import MEASURED, describe_base, get_versions
from idiolect.adapters.formats.peft import save_peft
from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora, require_lora
from idiolect.errors import IdiolectError, MismatchError
from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.models.folder import probe
from idiolect.models.load import load_base
from idiolect.prompts.chat_template import encode_invocation
from idiolect.storage.files import read_json
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from support.families import CONFIGURATIONS, REFUSED, FamilyConfiguration, save_family
from support.family_training import (
    TRAIN,
    Pairs,
    answer_plainly,
    load_plain_model,
    make_alike_jobs,
    measure_difference,
    train_plainly,
)
from support.known_models import probe_known_model

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # families of transformers and PEFT warn at will
]
TOLERANCE = 1e-5
"""Of the update of each module, relative, in float32 (invariant 1)."""
ANSWER_TOKENS = 8


@pytest.fixture(scope="module", autouse=True)
def try_families_here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Try models in this process, and remember no verdict of an earlier run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_run_probe", probe_known_model)
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@dataclass(kw_only=True)
class OpenedFamily:
    """A family's base, three people, and what the plain way gives for them."""

    name: str
    folder: Path
    base: Base
    lora: LoraConfig

    @cached_property
    def jobs(self) -> tuple[TrainingJob, ...]:
        return make_alike_jobs(encode_invocation(self.base.tokenizer))

    @cached_property
    def plain_model(self) -> Any:
        return load_plain_model(self.folder)

    @cached_property
    def plain_pairs(self) -> list[Pairs]:
        return [
            train_plainly(
                self.plain_model,
                init_lora(self.base, self.lora, seed=TRAIN.seed, person=job.person),
                job,
            )
            for job in self.jobs
        ]

    @cached_property
    def adapters(self) -> dict[str, LoraAdapter]:
        """Each person's adapter, from the engine with its default settings."""
        results = train_many(self.base, self.jobs, self.lora, TRAIN, EngineConfig())
        return {one.person: require_lora(one.adapter) for one in results}

    @cached_property
    def peft_model(self) -> Any:
        """All adapters, exported and loaded by PEFT onto the plain model, one at a time."""
        assert self.plain_pairs  # trained before PEFT wraps the model for good
        wrapped: Any = None
        for person, adapter in self.adapters.items():
            out = self.folder / person
            save_peft(out, adapter, base_name=self.base.name)
            if wrapped is None:
                wrapped = peft.PeftModel.from_pretrained(self.plain_model, out, adapter_name=person)
            else:
                wrapped.load_adapter(out, adapter_name=person)
        return wrapped.eval()

    def measure_largest_difference(self, results: Any, expected: list[Pairs]) -> float:
        """Return the largest difference of the people's adapters from the expected ones."""
        return max(
            measure_difference(require_lora(one.adapter).pairs, pairs)
            for one, pairs in zip(results, expected, strict=True)
        )


@pytest.fixture(
    scope="module",
    params=[one for one in CONFIGURATIONS if one.name not in REFUSED],
    ids=lambda one: one.name,
)
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> OpenedFamily:
    folder = tmp_path_factory.mktemp("family") / "model"
    save_family(request.param, folder)
    base = load_base(folder, dtype="float32", device="cpu")
    lora = LoraConfig(targets=request.param.targets).resolve_for(base.model)
    return OpenedFamily(name=request.param.name, folder=folder, base=base, lora=lora)


def test_families_table_says_what_holds(opened: OpenedFamily) -> None:
    """docs/families.json names the ways that are off; those are all that may be refused."""
    measured = read_json(MEASURED)
    if measured["versions"] != get_versions():
        pytest.skip("measured with other versions: run docs/build/bases.py --measure")
    said, found = measured["families"][opened.name], describe_base(opened.base)
    assert (said["targets"], said["flat"]) == (found["targets"], found["flat"])
    assert said["off"].keys() == found["off"].keys()


def test_train_many_equals_peft_in_every_family(opened: OpenedFamily) -> None:
    """With defaults. A rate higher by a thousandth would differ by 1e-3."""
    for job, pairs in zip(opened.jobs, opened.plain_pairs, strict=True):
        assert measure_difference(opened.adapters[job.person].pairs, pairs) <= TOLERANCE


def test_train_one_equals_peft_in_every_family(opened: OpenedFamily) -> None:
    results = [train_one(opened.base, job, opened.lora, TRAIN) for job in opened.jobs]
    assert opened.measure_largest_difference(results, opened.plain_pairs) <= TOLERANCE


@pytest.mark.parametrize(
    ("settings", "engine"),
    [
        pytest.param({}, EngineConfig(layout="packed"), id="packed"),
        pytest.param({}, EngineConfig(layout="rows", share=False), id="rows"),
        pytest.param({"active": "answer"}, EngineConfig(), id="answer"),
        pytest.param({"top_layers": 1}, EngineConfig(), id="top"),
    ],
)
def test_way_forced_by_hand_is_right_or_refused(
    opened: OpenedFamily, settings: dict[str, Any], engine: EngineConfig
) -> None:
    lora = replace(opened.lora, **settings)
    try:
        expected = opened.plain_pairs
        if settings:
            alone = [train_one(opened.base, job, lora, TRAIN) for job in opened.jobs]
            expected = [require_lora(one.adapter).pairs for one in alone]
        results = train_many(opened.base, opened.jobs, lora, TRAIN, engine)
    except IdiolectError as error:
        refusal = str(error)
    else:
        assert opened.measure_largest_difference(results, expected) <= TOLERANCE
        return
    # The message names the setting to change.
    assert re.search(r"lora\.|engine\.", refusal)


@torch.no_grad()
def test_peft_loads_export_of_every_family(opened: OpenedFamily) -> None:
    people = list(opened.adapters)
    stack = stack_adapters(opened.base, list(opened.adapters.values()))
    for slot, job in enumerate(opened.jobs):
        ids = torch.tensor([job.examples[-1].ids])
        with stack.activate(torch.tensor([slot])):
            ours = opened.base.model(input_ids=ids, use_cache=False).logits
        opened.peft_model.set_adapter(people[slot])
        theirs = opened.peft_model(input_ids=ids).logits
        assert (ours - theirs).abs().max() <= 1e-4
        with opened.peft_model.disable_adapter():
            bare = opened.peft_model(input_ids=ids).logits
        # The adapter changes a lot, also where logits are scaled down.
        assert (theirs - bare).abs().max() >= 0.05 * bare.std()


def test_left_padded_batch_answers_as_generate_does_alone(opened: OpenedFamily) -> None:
    """The prompts have unequal lengths, so all but one row are padded."""
    pad = opened.base.pad_token_id
    prompts = [
        job.examples[0].ids[:length] for job, length in zip(opened.jobs, (25, 8, 17), strict=True)
    ]
    requests = [(job.person, prompt) for job, prompt in zip(opened.jobs, prompts, strict=True)]
    generator = Generator(opened.base, opened.adapters)
    texts = generator.generate_greedy(requests, max_tokens=ANSWER_TOKENS)
    for (person, prompt), text in zip(requests, texts, strict=True):
        opened.peft_model.set_adapter(person)
        tokens = answer_plainly(opened.peft_model, prompt, max_tokens=ANSWER_TOKENS, pad=pad)
        decoded = str(opened.base.tokenizer.decode(tokens, skip_special_tokens=True))
        assert text == decoded.strip()


@pytest.mark.parametrize(
    "configuration",
    [one for one in CONFIGURATIONS if one.name in REFUSED],
    ids=lambda one: one.name,
)
def test_family_that_is_not_supported_is_refused(
    configuration: FamilyConfiguration, tmp_path: Path
) -> None:
    save_family(configuration, tmp_path / "model")
    with pytest.raises(MismatchError, match=REFUSED[configuration.name]):
        load_base(tmp_path / "model", dtype="float32", device="cpu")


def test_configurations_are_at_least_50_of_40_families() -> None:
    usable = [one for one in CONFIGURATIONS if one.name not in REFUSED]
    assert len(usable) >= 50
    assert len({one.model_type for one in usable}) >= 40
    assert len({one.name for one in CONFIGURATIONS}) == len(CONFIGURATIONS)
    assert REFUSED.keys() <= {one.name for one in CONFIGURATIONS}

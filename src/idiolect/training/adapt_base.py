"""Task adaptation: one LoRA on other people's items, merged in fp32 and saved as a new base.

People who are tested later must not be part of it, nor their records in other people's histories
(docs/invariants.md, invariant 4). Source: the task-specific base of OPPU, section 3.2.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from idiolect.adapters.formats.exchange import TASK_ADAPTER_FOLDER
from idiolect.adapters.formats.peft import save_peft
from idiolect.adapters.lora import LoraAdapter, LoraConfig, merge_weight, require_lora
from idiolect.adapters.targets.patterns import AUTO_WIDE
from idiolect.config import derive_seed, to_plain
from idiolect.errors import UsageError
from idiolect.events import Listener, Message, null_listener
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.models.base import Base
from idiolect.models.device import DtypeName
from idiolect.models.folder.weights import rewrite_base, save_base_manifest
from idiolect.models.linear import is_transposed
from idiolect.models.quantization.modules import require_plain_base
from idiolect.profiles.profile import Profile
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import Example, PromptConfig, PromptRenderer
from idiolect.retrieval.dense import Encoder
from idiolect.storage.files import stage_folder
from idiolect.storage.manifest import Manifest
from idiolect.tasks.task import Task
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.fold_prompts import fold_equal_prompts
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig

TASK_ADAPTATION_ID = "task adaptation"


@dataclass(frozen=True, kw_only=True)
class AdaptConfig:
    """Settings of task adaptation."""

    lora: LoraConfig = field(
        default_factory=lambda: LoraConfig(rank=16, alpha=32.0, targets=(AUTO_WIDE,))
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(rate=1e-3, epochs=1, batch=32, clip=1.0)
    )
    prompt: PromptConfig = field(default_factory=PromptConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    most_items: int = 4000
    """Maximum number of items drawn from other people's histories; 0: all. Items with the same
    question are then folded into one example, so for film ratings all items cost little more than a
    few."""

    dtype: DtypeName = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.most_items < 0:
            raise UsageError(f"most_items: must be 0 (all) or more, got {self.most_items}")
        if self.lora.active != "all":
            raise UsageError("lora.active: only 'all' can be merged into a base")


@dataclass(frozen=True, kw_only=True)
class AdaptSummary:
    """What a base was adapted on."""

    out: str
    identity: str
    people: int
    items: int
    examples: int
    """Training examples, after items with the same question were folded into one."""
    tokens: int
    seconds: float
    left_out: Mapping[str, int]
    """Number of items left out, by reason."""


class ExcludedTestSet:
    """People who must not enter the adaptation, and their records, wherever they occur."""

    def __init__(self, task: Task, tested: Iterable[History]) -> None:
        self.task = task
        self.people: set[str] = set()
        self.records: set[str] = set()
        for history in tested:
            self.people.add(history.person)
            # Tasks in which equal text is not the same record give None.
            keys = (task.record_key(i) for i in (*history.items, *history.queries))
            self.records.update(key for key in keys if key is not None)

    def find_reason(self, item: Interaction) -> str | None:
        """Return why an item of another person must stay out; ``None`` if it may enter."""
        if self.people.intersection(item.voices):
            return "holds words of a person to be tested"
        if self.task.record_key(item) in self.records:
            return "is a record of a person to be tested"
        return None

    def filter_history(self, history: History) -> History:
        """Return the history without the items that must stay out."""
        return History(history.person, tuple(i for i in history.items if not self.find_reason(i)))


def adapt_to_task(
    base: Base,
    task: Task,
    others: Iterable[History],
    exclusion: ExcludedTestSet,
    out: Path,
    config: AdaptConfig,
    *,
    profiles: Mapping[str, Sequence[Profile]] | None = None,
    encoder: Encoder | None = None,
    engine: EngineConfig | None = None,
    listener: Listener = null_listener,
) -> AdaptSummary:
    """Train one LoRA on other people's items; save base plus LoRA as a base folder at ``out``.

    ``others`` are histories; those of people in ``exclusion`` are skipped. A killed run resumes
    from a checkpoint beside ``out``. Raises UsageError if no items are left to train on, if the
    base has no folder of weights, or if it cannot have the adapter of the settings.
    """
    started = time.monotonic()
    if base.folder is None:
        raise UsageError(
            "cannot adapt a base that exists only in memory; save it to a folder first"
        )
    require_plain_base(base, "task adaptation")
    config.lora.check_model(base.model)
    config = replace(config, lora=config.lora.resolve_for(base.model))
    # Stage 1: draw examples, without the people to be tested and their records.
    left_out: Counter[str] = Counter()
    allowed = [h for h in others if h.person not in exclusion.people]
    chosen, people = _draw_examples(
        base, task, allowed, exclusion, config, profiles, encoder, left_out
    )
    if not chosen:
        raise UsageError(
            f"{task.name}: nothing to adapt on: no {'item' if task.labeled else 'answered query'} "
            "of other people is left "
            f"({dict(left_out) or 'there are no other people'})"
        )
    # Stage 2: fold equal prompts, then train one adapter. The engine sees a single job.
    examples = fold_equal_prompts(chosen)
    listener(
        Message(
            text=f"adapting to {task.title} on {len(chosen):,} items of {len(people):,} other "
            f"people ({len(examples):,} different questions)"
        )
    )
    checkpoint = out.with_name(f".{out.name}.adapting")
    trained = train_many(
        base,
        [TrainingJob(person=TASK_ADAPTATION_ID, examples=examples)],
        config.lora,
        config.train,
        engine,
        checkpoint=checkpoint,
        listener=listener,
        stage="adapt",
    )[0]
    # Stage 3: merge and save. The manifest names all contributors, also those of the parent base,
    # so that erasure finds this base.
    about = {"task": task.name, "adapt": to_plain(config), "items": len(chosen)}
    people |= set(read_contributors(base))
    adapter = require_lora(trained.adapter)
    save_merged(base, adapter, out, about=about, contributors=tuple(sorted(people)))
    checkpoint.unlink(missing_ok=True)
    return AdaptSummary(
        out=str(out),
        identity=str(Manifest.read_unchecked(out).base),
        people=len(people),
        items=len(chosen),
        examples=len(examples),
        tokens=trained.tokens,
        seconds=time.monotonic() - started,
        left_out=dict(left_out),
    )


def _draw_examples(
    base: Base,
    task: Task,
    allowed: Sequence[History],
    exclusion: ExcludedTestSet,
    config: AdaptConfig,
    profiles: Mapping[str, Sequence[Profile]] | None,
    encoder: Encoder | None,
    left_out: Counter[str],
) -> tuple[list[Example], set[str]]:
    """Draw the other people's items in a seeded order; returns examples and their people.

    If items have no labels of the task, the people's answered queries are used instead. Counts the
    items left out in ``left_out``.
    """
    prompter = PromptRenderer(base.tokenizer, config.prompt)
    # All candidates, in a seeded order; the first most_items usable ones are taken.
    candidates = [
        (h, item)
        for h in allowed
        for item in (h.items if task.labeled else (q for q in h.queries if task.target(q)))
    ]
    random.Random(derive_seed(config.train.seed, "task adaptation")).shuffle(candidates)
    # A person's context (index of their items, profiles) is built once, at their first item.
    contexts: dict[str, PersonContext] = {}
    chosen: list[Example] = []
    people: set[str] = set()
    for history, item in candidates:
        if config.most_items and len(chosen) >= config.most_items:
            break
        # A person's own words in another person's item are excluded like their own items.
        reason = exclusion.find_reason(item)
        if reason is not None:
            left_out[reason] += 1
            continue
        if history.person not in contexts:
            theirs = (profiles or {}).get(history.person, ())
            contexts[history.person] = PersonContext(
                exclusion.filter_history(history)
                if config.context.retrieval != "none"
                else history,
                task,
                prompter,
                config.context,
                profiles=theirs,
                encoder=encoder,
                seed=config.train.seed,
            )
        person = contexts[history.person]
        # Other items of the history may be shown in the prompt, hence the filtered history above.
        example = (
            person.build_history_example(item) if task.labeled else person.build_query_example(item)
        )
        if example is None:
            left_out["has no answer, or is too long"] += 1
            continue
        chosen.append(example)
        people.add(history.person)
    return chosen, people


def read_contributors(base: Base) -> tuple[str, ...]:
    """Return the people whose items a base was adapted on; empty for a public base."""
    if base.folder is None or not (base.folder / Manifest.NAME).is_file():
        return ()
    return Manifest.read_unchecked(base.folder).contributors


def save_merged(
    base: Base,
    adapter: LoraAdapter,
    out: Path,
    *,
    about: Mapping[str, object],
    contributors: tuple[str, ...],
) -> None:
    """Save ``W + scale * B A`` in fp32 as a base folder, together with the adapter itself."""
    assert base.folder is not None
    adapter.check_matches_base(base)
    # Lazy: each merged weight is computed when its tensor is rewritten, so one is in memory.
    changes = {
        f"{path}.weight": partial(
            merge_weight,
            a=a,
            b=b,
            scale=adapter.config.scale,
            transposed=is_transposed(base.model.get_submodule(path)),
        )
        for path, (a, b) in adapter.pairs.items()
    }
    # The folder appears only when it is complete.
    with stage_folder(out, replace=True) as folder:
        rewrite_base(base.folder, folder, changes)
        save_peft(folder / TASK_ADAPTER_FOLDER, adapter, base_name=base.name)
        save_base_manifest(
            folder,
            name=f"{base.name}+{about['task']}",
            source=base.source,
            contributors=contributors,
            parent=base.identity,
            **about,
        )

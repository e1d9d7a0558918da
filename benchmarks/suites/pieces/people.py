"""Who is who: newcomers, development newcomers, sharers by each strategy; nobody twice.

Nobody of them went into the base; newcomers' words stand in no item that the base or a sharer was
trained on either.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.evaluation.demo import draw_people
from idiolect.history.history import History
from idiolect.importers.registry import import_histories
from idiolect.models.base import Base
from idiolect.models.encoder import MiniLM
from idiolect.pieces.sharing.selection import (
    SharersConfig,
    Strategy,
    compute_mean_vector,
    select_sharers,
)
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.retrieval.dense import Encoder
from idiolect.storage.files import read_json, write_json
from idiolect.tasks.registry import get_task
from idiolect.tasks.task import Task
from idiolect.training.adapt_base import ExcludedTestSet, read_contributors
from suites.pieces.settings import SEED, SETTINGS, Setting, Sizes

EXCLUDED_PEOPLE = 60
"""People of ``quality.py`` whom, and whose words, the bases it leaves never saw."""


@dataclass(frozen=True, kw_only=True)
class People:
    """Everyone who takes part, in time order what they wrote."""

    task: Task
    setting: Setting
    newcomers: tuple[History, ...]
    """Their histories, and as queries the items behind."""
    development: tuple[History, ...]
    sharers: dict[str, History]
    """What each is trained on; as queries the items behind, for the audit."""
    chosen: dict[str, tuple[str, ...]]
    """Sharers by strategy."""
    candidates: int

    def build_examples(self, history: History, prompter: PromptRenderer) -> tuple[Example, ...]:
        """The items as training examples."""
        person = PersonContext(history, self.task, prompter, ContextConfig())
        found = (person.build_item_example(place) for place in range(len(history.items)))
        return tuple(e for e in found if e is not None)

    def build_query_examples(
        self, history: History, prompter: PromptRenderer
    ) -> tuple[Example, ...]:
        """The queries with their answers."""
        person = PersonContext(history, self.task, prompter, ContextConfig())
        found = (person.build_query_example(query) for query in history.queries)
        return tuple(e for e in found if e is not None)


class CachingEncoder:
    """An encoder that runs every text once."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.vectors_by_text: dict[str, NDArray[np.float32]] = {}

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors [N, D]."""
        new = [text for text in dict.fromkeys(texts) if text not in self.vectors_by_text]
        if new:
            self.vectors_by_text |= dict(zip(new, np.asarray(self.encoder(new)), strict=True))
        return np.stack([self.vectors_by_text[text] for text in texts])


def load_histories(setting: Setting) -> Sequence[History]:
    """Everyone of the task's dataset."""
    return list(import_histories(format=setting.subject.format).histories)


def find_unseen_people(setting: Setting) -> set[str]:
    """People whose words the base never saw, also not in others' items."""
    tested, _ = draw_people(setting.subject, EXCLUDED_PEOPLE, seed=SEED)
    return {history.person for history in tested}


def make_encoder() -> Encoder:
    """What finds like people."""
    return MiniLM()


def compute_mean_vectors(people: People, folder: Path) -> dict[str, NDArray[np.float64]]:
    """Newcomers' and sharers' mean vectors, once made they are kept: of sharers by what their
    adapter saw."""
    path = folder / "means.json"
    if not path.is_file():
        memo = CachingEncoder(make_encoder())
        everyone = [*people.newcomers, *people.sharers.values()]
        made = {h.person: compute_mean_vector(h, people.task, memo).tolist() for h in everyone}
        write_json(path, made)
    return {person: np.array(mean) for person, mean in read_json(path).items()}


def load_people(base: Base, name: str, sizes: Sizes, folder: Path) -> People:
    """Everyone; a draw that was made before is taken from the folder."""
    task, setting = get_task(name), SETTINGS[name]
    prompter = PromptRenderer(base.tokenizer)
    seen = set(read_contributors(base))
    everyone = {h.person: h for h in load_histories(setting) if h.person not in seen}
    path = folder / "people.json"
    cause = {"base": base.identity, "task": name, "seed": SEED, "sizes": _sizes_to_plain(sizes)}
    if path.is_file():
        kept = read_json(path)
        if kept["cause"] != cause:
            raise UsageError(f"{path}: of another base or other sizes; name another --work folder")
    else:
        kept = {"cause": cause, **_draw_people(everyone, task, setting, sizes, prompter)}
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, kept)

    def make_newcomer(person: str) -> History:
        usable = _keep_usable_items(everyone[person], task, prompter)
        return usable.take_last(sizes.longest_history + setting.queries).hold_out(setting.queries)

    newcomers = tuple(make_newcomer(person) for person in kept["newcomers"])
    development = tuple(make_newcomer(person) for person in kept["development"])
    kept_out = ExcludedTestSet(task, (everyone[h.person] for h in (*newcomers, *development)))
    chosen = {strategy: tuple(kept["chosen"][strategy]) for strategy in setting.strategies}
    union = sorted({person for some in chosen.values() for person in some})
    sharers = {
        person: _keep_shareable_items(everyone[person], kept_out, task, prompter)
        .take_last(sizes.history + sizes.held_out)
        .hold_out(sizes.held_out)
        for person in union
    }
    people = People(
        task=task,
        setting=setting,
        newcomers=newcomers,
        development=development,
        sharers=sharers,
        chosen=chosen,
        candidates=kept["candidates"],
    )
    _require_disjoint(people, seen)
    return people


def _draw_people(
    everyone: dict[str, History],
    task: Task,
    setting: Setting,
    sizes: Sizes,
    prompter: PromptRenderer,
) -> dict[str, Any]:
    """Names of newcomers, development newcomers and sharers."""
    wanted = sizes.newcomers + sizes.development
    long = sizes.longest_history + setting.queries
    free = (
        find_unseen_people(setting) if task.name == "reply" else set(everyone)
    )  # nobody else's words there
    able = sorted(
        person
        for person, history in everyone.items()
        if person in free and len(_keep_usable_items(history, task, prompter).items) >= long
    )
    if len(able) < wanted:
        raise UsageError(
            f"{task.name}: {wanted} newcomers with {long} items are wanted, and this base leaves "
            f"{len(able)}; adapt it with more people excluded (benchmarks/quality.py does)"
        )
    drawn = random.Random(derive_seed(SEED, task.name, "newcomers")).sample(able, wanted)
    kept_out = ExcludedTestSet(task, (everyone[person] for person in drawn))
    least = sizes.history // 2 + sizes.held_out
    rest = {
        person: _keep_shareable_items(history, kept_out, task, prompter)
        for person, history in everyone.items()
        if person not in drawn and len(history.items) >= least
    }
    names = sorted(person for person, history in rest.items() if len(history.items) >= least)
    order = sorted(names, key=lambda person: derive_seed(SEED, person, "candidates"))
    candidates = [rest[person].take_last(sizes.known) for person in order[: sizes.candidates]]
    if len(candidates) < sizes.sharers:
        raise UsageError(f"{task.name}: {len(candidates)} people can share; {sizes.sharers} wanted")
    memo = CachingEncoder(make_encoder())
    chosen = {
        strategy: [
            sharer.person
            for sharer in select_sharers(
                candidates,
                task,
                SharersConfig(
                    strategy=strategy, sharers=sizes.sharers, least_items=least, seed=SEED
                ),
                encoder=memo,
            )
        ]
        for strategy in get_args(Strategy)
    }
    return {
        "newcomers": drawn[: sizes.newcomers],
        "development": drawn[sizes.newcomers :],
        "candidates": len(candidates),
        "chosen": chosen,
    }


def _keep_usable_items(history: History, task: Task, prompter: PromptRenderer) -> History:
    """The history's items that can be trained on."""
    person = PersonContext(history, task, prompter, ContextConfig())
    some = [i for n, i in enumerate(history.items) if person.build_item_example(n) is not None]
    return History(history.person, tuple(some))


def _keep_shareable_items(
    history: History, kept_out: ExcludedTestSet, task: Task, prompter: PromptRenderer
) -> History:
    """What somebody may share: nothing in which a newcomer speaks."""
    return _keep_usable_items(kept_out.filter_history(history), task, prompter)


def _sizes_to_plain(sizes: Sizes) -> dict[str, Any]:
    """The sizes that decide who takes part, as JSON gives them back."""
    names = ("newcomers", "development", "candidates", "sharers", "history", "known", "held_out")
    plain = asdict(sizes)
    return {name: plain[name] for name in names} | {"most": sizes.longest_history}


def _require_disjoint(people: People, seen: set[str]) -> None:
    """Nobody takes part twice, or went into the base."""
    new = {h.person for h in people.newcomers}
    development = {h.person for h in people.development}
    groups = [new, development, set(people.sharers), seen]
    assert sum(map(len, groups)) == len(set[str]().union(*groups)), "somebody takes part twice"

"""The people of the benchmark: target users, development users, and sharers by each strategy.

No person has two roles, and none of them was used to adapt the base. No item that the base or a
sharer was trained on contains words of a target user.
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
from kit.memo_encoder import CachingEncoder
from suites.pieces.settings import SEED, SETTINGS, Setting, Sizes

EXCLUDED_PEOPLE = 60
"""The number of tested people of ``quality.py``: its adapted bases saw none of their words."""
STORED_NAME = "newcomers"
"""How work folders call the target users. The draw depends on it, so another name would draw other
people."""


@dataclass(frozen=True, kw_only=True)
class People:
    """All people of the benchmark, with their items in time order."""

    task: Task
    setting: Setting
    target_users: tuple[History, ...]
    """Histories to assemble or train from; the items after them are the queries."""
    development: tuple[History, ...]
    sharers: dict[str, History]
    """Items that each sharer is trained on; the items after them are the queries, for the audit."""
    chosen: dict[str, tuple[str, ...]]
    """Sharers by strategy."""
    candidates: int

    def build_examples(self, history: History, prompter: PromptRenderer) -> tuple[Example, ...]:
        """Return the items as training examples."""
        person = PersonContext(history, self.task, prompter, ContextConfig())
        found = (person.build_item_example(place) for place in range(len(history.items)))
        return tuple(e for e in found if e is not None)

    def build_query_examples(
        self, history: History, prompter: PromptRenderer
    ) -> tuple[Example, ...]:
        """Return the queries with their answers."""
        person = PersonContext(history, self.task, prompter, ContextConfig())
        found = (person.build_query_example(query) for query in history.queries)
        return tuple(e for e in found if e is not None)


def load_histories(setting: Setting) -> Sequence[History]:
    """Load all people of the task's dataset."""
    return list(import_histories(format=setting.subject.format).histories)


def find_unseen_people(setting: Setting) -> set[str]:
    """Find people whose words the base never saw, not even within the items of other people."""
    tested, _ = draw_people(setting.subject, EXCLUDED_PEOPLE, seed=SEED)
    return {history.person for history in tested}


def make_encoder() -> Encoder:
    """Return the encoder that compares people."""
    return MiniLM()


def compute_mean_vectors(people: People, folder: Path) -> dict[str, NDArray[np.float64]]:
    """Return the mean vector [D] of each target user and sharer; computed once per folder.

    A sharer's vector covers the items that the adapter was trained on.
    """
    path = folder / "means.json"
    if not path.is_file():
        memo = CachingEncoder(make_encoder())
        members = [*people.target_users, *people.sharers.values()]
        made = {h.person: compute_mean_vector(h, people.task, memo).tolist() for h in members}
        write_json(path, made)
    return {person: np.array(mean) for person, mean in read_json(path).items()}


def load_people(base: Base, name: str, sizes: Sizes, folder: Path) -> People:
    """Return all people: those drawn before if the folder has a draw, else a new draw.

    Raises UsageError if the folder's draw belongs to another base or other sizes.
    """
    task, setting = get_task(name), SETTINGS[name]
    prompter = PromptRenderer(base.tokenizer)
    seen = set(read_contributors(base))
    histories = {h.person: h for h in load_histories(setting) if h.person not in seen}
    # The draw is stored, so that preparation and measurement use the same people.
    path = folder / "people.json"
    cause = {"base": base.identity, "task": name, "seed": SEED, "sizes": _sizes_to_plain(sizes)}
    if path.is_file():
        kept = read_json(path)
        if kept["cause"] != cause:
            raise UsageError(
                f"{path}: made for another base or other sizes; choose another --work folder"
            )
    else:
        kept = {"cause": cause, **_draw_people(histories, task, setting, sizes, prompter)}
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, kept)

    def make_target_user(person: str) -> History:
        usable = _keep_usable_items(histories[person], task, prompter)
        return usable.take_last(sizes.longest_history + setting.queries).hold_out(setting.queries)

    # Restore the histories: the base and the sharers must not see a target user's words.
    target_users = tuple(make_target_user(person) for person in kept[STORED_NAME])
    development = tuple(make_target_user(person) for person in kept["development"])
    kept_out = ExcludedTestSet(task, (histories[h.person] for h in (*target_users, *development)))
    # A sharer may be chosen by several strategies, but is trained once.
    chosen = {strategy: tuple(kept["chosen"][strategy]) for strategy in setting.strategies}
    union = sorted({person for some in chosen.values() for person in some})
    sharers = {
        person: _keep_shareable_items(histories[person], kept_out, task, prompter)
        .take_last(sizes.history + sizes.held_out)
        .hold_out(sizes.held_out)
        for person in union
    }
    people = People(
        task=task,
        setting=setting,
        target_users=target_users,
        development=development,
        sharers=sharers,
        chosen=chosen,
        candidates=kept["candidates"],
    )
    _require_disjoint(people, seen)
    return people


def _draw_people(
    histories: dict[str, History],
    task: Task,
    setting: Setting,
    sizes: Sizes,
    prompter: PromptRenderer,
) -> dict[str, Any]:
    """Draw target users, development users and sharers; return their names as JSON data."""
    wanted = sizes.target_users + sizes.development
    long = sizes.longest_history + setting.queries
    # In chats, other people's words appear in a person's items, so fewer people qualify.
    free = find_unseen_people(setting) if task.name == "reply" else set(histories)
    # Target users and development users need a long history and the queries after it.
    able = sorted(
        person
        for person, history in histories.items()
        if person in free and len(_keep_usable_items(history, task, prompter).items) >= long
    )
    if len(able) < wanted:
        raise UsageError(
            f"{task.name}: the benchmark needs {wanted} target users with {long} items, but only "
            f"{len(able)} were not used to adapt this base; adapt one with more people excluded "
            "(benchmarks/quality.py does)"
        )
    drawn = random.Random(derive_seed(SEED, task.name, STORED_NAME)).sample(able, wanted)
    # Candidate sharers: other people, without items that contain words of those drawn.
    kept_out = ExcludedTestSet(task, (histories[person] for person in drawn))
    least = sizes.history // 2 + sizes.held_out
    rest = {
        person: _keep_shareable_items(history, kept_out, task, prompter)
        for person, history in histories.items()
        if person not in drawn and len(history.items) >= least
    }
    names = sorted(person for person, history in rest.items() if len(history.items) >= least)
    order = sorted(names, key=lambda person: derive_seed(SEED, person, "candidates"))
    candidates = [rest[person].take_last(sizes.known) for person in order[: sizes.candidates]]
    if len(candidates) < sizes.sharers:
        raise UsageError(
            f"{task.name}: the benchmark needs {sizes.sharers} sharers, but only {len(candidates)} "
            "people have enough items to share"
        )
    # Each strategy chooses from the same candidates.
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
        STORED_NAME: drawn[: sizes.target_users],
        "development": drawn[sizes.target_users :],
        "candidates": len(candidates),
        "chosen": chosen,
    }


def _keep_usable_items(history: History, task: Task, prompter: PromptRenderer) -> History:
    """Return the history with only the items that can be trained on."""
    person = PersonContext(history, task, prompter, ContextConfig())
    some = [i for n, i in enumerate(history.items) if person.build_item_example(n) is not None]
    return History(history.person, tuple(some))


def _keep_shareable_items(
    history: History, kept_out: ExcludedTestSet, task: Task, prompter: PromptRenderer
) -> History:
    """Return the usable items that contain no words of a target user."""
    return _keep_usable_items(kept_out.filter_history(history), task, prompter)


def _sizes_to_plain(sizes: Sizes) -> dict[str, Any]:
    """Return the sizes that the draw depends on, as they are stored in the work folder."""
    names = ("development", "candidates", "sharers", "history", "known", "held_out")
    plain = asdict(sizes)
    return {name: plain[name] for name in names} | {
        STORED_NAME: sizes.target_users,
        "most": sizes.longest_history,
    }


def _require_disjoint(people: People, seen: set[str]) -> None:
    """Assert that no person has two roles or was used to adapt the base."""
    target = {h.person for h in people.target_users}
    development = {h.person for h in people.development}
    groups = [target, development, set(people.sharers), seen]
    assert sum(map(len, groups)) == len(set[str]().union(*groups)), "a person has two roles"

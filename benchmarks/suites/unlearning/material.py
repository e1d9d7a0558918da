"""What is forgotten, kept and asked: real sets, divided by prompt so that nothing stands twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.errors import UsageError
from idiolect.evaluation.demo import CHATS, draw
from idiolect.history.history import History
from idiolect.prompt_sets import corpora
from idiolect.prompt_sets.corpora import Choice, Labelled
from idiolect.prompt_sets.pairs import Pair, by_prompt
from idiolect.prompt_sets.split import split_by_prompt
from idiolect.scorecard.scorer import Material
from idiolect.tasks.registry import get_task
from suites.unlearning.settings import SEED, Sizes


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The sets as they come."""

    judged: tuple[Labelled, ...]
    refusals: tuple[Labelled, ...]
    goals: tuple[Pair, ...]
    normal: tuple[Pair, ...]
    choices: dict[str, tuple[Choice, ...]]

    @property
    def harmful(self) -> tuple[Pair, ...]:
        """What people found harmful."""
        return tuple(one.pair for one in self.judged if one.score >= corpora.HARMFUL)


def sources(root: Path | None = None) -> Sources:
    """Read them from the installed packages."""
    return Sources(
        judged=corpora.judged(root),
        refusals=corpora.refusals(root),
        goals=corpora.advbench(root),
        normal=corpora.truthful_qa(root),
        choices={
            "OpenBookQA": corpora.open_book_qa(root),
            "CommonsenseQA": corpora.commonsense_qa(root),
        },
    )


@dataclass(frozen=True, kw_only=True)
class Divided:
    """Who learns from what, and who is asked what."""

    forget: tuple[Pair, ...]
    unseen: tuple[Pair, ...]
    retain: tuple[Pair, ...]
    unrelated: tuple[str, ...]
    """Answers to normal questions, all of a question's as one text, for the judge."""
    questions: tuple[str, ...]
    """Those questions."""
    material: Material
    elsewhere: tuple[Pair, ...]
    """Chat replies of people: neither forgotten nor retained."""
    goals: int
    """AdvBench goals that are no prompt of the other sets."""


def divide(found: Sources, sizes: Sizes) -> Divided:
    """Half of the harmful prompts to forget, half unseen; TruthfulQA's questions in three parts."""
    forget, unseen = split_by_prompt(found.harmful, 0.5, seed=SEED, purpose="forget")
    known = {pair.key for pair in found.harmful}
    goals = [pair for pair in found.goals if pair.key not in known]
    questions = len(by_prompt(found.normal))
    wanted = sizes.unrelated + sizes.retain + sizes.measured
    if questions < wanted:
        raise UsageError(f"{wanted} normal questions are needed, there are {questions}")
    judge, rest = _questions(found.normal, sizes.unrelated, "judge")
    retain, rest = _questions(rest, sizes.retain, "retain")
    measured, _ = _questions(rest, sizes.measured, "measured")
    material = Material(
        prompts={
            "seen": prompts(forget, sizes.seen, "seen"),
            "unseen": prompts(unseen, sizes.unseen, "unseen"),
            "AdvBench": prompts(goals, sizes.goals, "AdvBench"),
        },
        retain=one_each(measured),
        forgotten=some(forget, sizes.pairs),
        others=some(unseen, sizes.pairs),
        choices={
            name: _choices(questions, sizes.questions) for name, questions in found.choices.items()
        },
    )
    return Divided(
        forget=forget,
        unseen=unseen,
        retain=one_each(retain),
        unrelated=tuple(
            " ".join(pair.response.rstrip(".") + "." for pair in pairs)
            for pairs in by_prompt(judge).values()
        ),
        questions=tuple(pair.prompt for pair in one_each(judge)),
        material=material,
        elsewhere=tuple(
            pair for history in people(sizes) for pair in replies(history)[: sizes.elsewhere]
        ),
        goals=len(goals),
    )


def prompts(pairs: Sequence[Pair], count: int, purpose: str) -> tuple[str, ...]:
    """So many prompts, drawn by the seed."""
    kinds = by_prompt(pairs)
    part, _ = split_by_prompt(pairs, min(1.0, count / len(kinds)), seed=SEED, purpose=purpose)
    return tuple(pair.prompt for pair in one_each(part))


def some(pairs: Sequence[Pair], count: int) -> tuple[Pair, ...]:
    """One pair each of so many prompts."""
    kinds = by_prompt(pairs)
    part, _ = split_by_prompt(pairs, min(1.0, count / len(kinds)), seed=SEED, purpose="pairs")
    return one_each(part)


def one_each(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The first answer to each prompt."""
    return tuple(found[0] for found in by_prompt(pairs).values())


def _questions(
    pairs: Sequence[Pair], count: int, purpose: str
) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    return split_by_prompt(pairs, count / len(by_prompt(pairs)), seed=SEED, purpose=purpose)


def _choices(found: Sequence[Choice], count: int) -> tuple[Choice, ...]:
    step = max(1, len(found) // count)
    return tuple(found[::step][:count])


def people(sizes: Sizes) -> tuple[History, ...]:
    """Real people who chat, their last replies."""
    tested, _ = draw(CHATS, sizes.people, seed=SEED, last=sizes.records + sizes.held_out)
    return tuple(tested)


def replies(history: History) -> tuple[Pair, ...]:
    """A person's replies as pairs, in time order."""
    task = get_task("reply")
    return tuple(
        Pair(prompt=task.prompt(item).text, response=item.fields["reply"]) for item in history.items
    )

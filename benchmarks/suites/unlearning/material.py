"""The prompt sets of the benchmark: real sets, divided by prompt so that no parts overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.errors import UsageError
from idiolect.evaluation.demo import CHATS, draw_people
from idiolect.history.history import History
from idiolect.prompt_sets import corpora
from idiolect.prompt_sets.corpora import LabeledPair, MultipleChoiceQuestion
from idiolect.prompt_sets.pairs import Pair, group_by_prompt
from idiolect.prompt_sets.split import split_by_prompt
from idiolect.scorecard.scorer import ScorecardInputs
from idiolect.tasks.registry import get_task
from suites.unlearning.settings import SEED, Sizes


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The sets as loaded from the packages."""

    judged: tuple[LabeledPair, ...]
    refusals: tuple[LabeledPair, ...]
    goals: tuple[Pair, ...]
    normal: tuple[Pair, ...]
    choices: dict[str, tuple[MultipleChoiceQuestion, ...]]

    @property
    def harmful_pairs(self) -> tuple[Pair, ...]:
        """Pairs that people labeled harmful."""
        return tuple(one.pair for one in self.judged if one.score >= corpora.HARMFUL_SCORE)


def load_sources(root: Path | None = None) -> Sources:
    """Load the sets from the installed packages, or from ``root``."""
    return Sources(
        judged=corpora.load_judged_answers(root),
        refusals=corpora.load_refusals(root),
        goals=corpora.load_advbench(root),
        normal=corpora.load_truthful_qa(root),
        choices={
            "OpenBookQA": corpora.load_open_book_qa(root),
            "CommonsenseQA": corpora.load_commonsense_qa(root),
        },
    )


@dataclass(frozen=True, kw_only=True)
class DividedSets:
    """The training sets of the methods and of the judge, and the sets that models answer."""

    forget: tuple[Pair, ...]
    unseen: tuple[Pair, ...]
    retain: tuple[Pair, ...]
    unrelated: tuple[str, ...]
    """Answers to normal questions, those of one question joined into one text, for the judge."""
    questions: tuple[str, ...]
    """The questions of ``unrelated``."""
    material: ScorecardInputs
    elsewhere: tuple[Pair, ...]
    """Chat replies of people, which are in neither the forget set nor the retain set."""
    goals: int
    """The number of AdvBench goals that are not prompts of the other sets."""


def divide_sources(found: Sources, sizes: Sizes) -> DividedSets:
    """Divide the sets: harmful prompts into forget and unseen, TruthfulQA into three parts.

    Raises UsageError if there are too few normal questions.
    """
    # Harmful prompts: one half is forgotten, the other half is only asked.
    forget, unseen = split_by_prompt(found.harmful_pairs, 0.5, seed=SEED, purpose="forget")
    known = {pair.key for pair in found.harmful_pairs}
    goals = [pair for pair in found.goals if pair.key not in known]
    # Normal questions: for the judge, for the retain set, and for the measurement.
    questions = len(group_by_prompt(found.normal))
    wanted = sizes.unrelated + sizes.retain + sizes.measured
    if questions < wanted:
        raise UsageError(
            f"the benchmark needs {wanted} normal questions, but there are {questions}"
        )
    judge, rest = _split_questions(found.normal, sizes.unrelated, "judge")
    retain, rest = _split_questions(rest, sizes.retain, "retain")
    measured, _ = _split_questions(rest, sizes.measured, "measured")
    # What each model answers.
    material = ScorecardInputs(
        prompts={
            "seen": draw_prompts(forget, sizes.seen, "seen"),
            "unseen": draw_prompts(unseen, sizes.unseen, "unseen"),
            "AdvBench": draw_prompts(goals, sizes.goals, "AdvBench"),
        },
        retain=take_first_answers(measured),
        forget_pairs=draw_pairs(forget, sizes.pairs),
        nonmember_pairs=draw_pairs(unseen, sizes.pairs),
        choices={
            name: _thin_out_choices(questions, sizes.questions)
            for name, questions in found.choices.items()
        },
    )
    return DividedSets(
        forget=forget,
        unseen=unseen,
        retain=take_first_answers(retain),
        unrelated=tuple(
            " ".join(pair.response.rstrip(".") + "." for pair in pairs)
            for pairs in group_by_prompt(judge).values()
        ),
        questions=tuple(pair.prompt for pair in take_first_answers(judge)),
        material=material,
        elsewhere=tuple(
            pair
            for history in select_people(sizes)
            for pair in make_reply_pairs(history)[: sizes.elsewhere]
        ),
        goals=len(goals),
    )


def draw_prompts(pairs: Sequence[Pair], count: int, purpose: str) -> tuple[str, ...]:
    """Draw ``count`` distinct prompts."""
    kinds = group_by_prompt(pairs)
    part, _ = split_by_prompt(pairs, min(1.0, count / len(kinds)), seed=SEED, purpose=purpose)
    return tuple(pair.prompt for pair in take_first_answers(part))


def draw_pairs(pairs: Sequence[Pair], count: int) -> tuple[Pair, ...]:
    """Draw ``count`` distinct prompts and return the first pair of each."""
    kinds = group_by_prompt(pairs)
    part, _ = split_by_prompt(pairs, min(1.0, count / len(kinds)), seed=SEED, purpose="pairs")
    return take_first_answers(part)


def take_first_answers(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return the first pair of each prompt."""
    return tuple(found[0] for found in group_by_prompt(pairs).values())


def _split_questions(
    pairs: Sequence[Pair], count: int, purpose: str
) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    return split_by_prompt(pairs, count / len(group_by_prompt(pairs)), seed=SEED, purpose=purpose)


def _thin_out_choices(
    found: Sequence[MultipleChoiceQuestion], count: int
) -> tuple[MultipleChoiceQuestion, ...]:
    step = max(1, len(found) // count)
    return tuple(found[::step][:count])


def select_people(sizes: Sizes) -> tuple[History, ...]:
    """Return real people who chat, with their last replies."""
    tested, _ = draw_people(CHATS, sizes.people, seed=SEED, last=sizes.records + sizes.held_out)
    return tuple(tested)


def make_reply_pairs(history: History) -> tuple[Pair, ...]:
    """Return a person's replies as pairs, in time order."""
    task = get_task("reply")
    return tuple(
        Pair(prompt=task.prompt(item).text, response=item.fields["reply"]) for item in history.items
    )

"""What is forgotten, kept and asked: real sets, divided by prompt so that nothing stands twice."""

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
    """The sets as they come."""

    judged: tuple[LabeledPair, ...]
    refusals: tuple[LabeledPair, ...]
    goals: tuple[Pair, ...]
    normal: tuple[Pair, ...]
    choices: dict[str, tuple[MultipleChoiceQuestion, ...]]

    @property
    def harmful_pairs(self) -> tuple[Pair, ...]:
        """What people found harmful."""
        return tuple(one.pair for one in self.judged if one.score >= corpora.HARMFUL_SCORE)


def load_sources(root: Path | None = None) -> Sources:
    """Read them from the installed packages."""
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
    """Who learns from what, and who is asked what."""

    forget: tuple[Pair, ...]
    unseen: tuple[Pair, ...]
    retain: tuple[Pair, ...]
    unrelated: tuple[str, ...]
    """Answers to normal questions, all of a question's as one text, for the judge."""
    questions: tuple[str, ...]
    """Those questions."""
    material: ScorecardInputs
    elsewhere: tuple[Pair, ...]
    """Chat replies of people: neither forgotten nor retained."""
    goals: int
    """AdvBench goals that are no prompt of the other sets."""


def divide_sources(found: Sources, sizes: Sizes) -> DividedSets:
    """Half of the harmful prompts to forget, half unseen; TruthfulQA's questions in three parts."""
    forget, unseen = split_by_prompt(found.harmful_pairs, 0.5, seed=SEED, purpose="forget")
    known = {pair.key for pair in found.harmful_pairs}
    goals = [pair for pair in found.goals if pair.key not in known]
    questions = len(group_by_prompt(found.normal))
    wanted = sizes.unrelated + sizes.retain + sizes.measured
    if questions < wanted:
        raise UsageError(f"{wanted} normal questions are needed, there are {questions}")
    judge, rest = _split_questions(found.normal, sizes.unrelated, "judge")
    retain, rest = _split_questions(rest, sizes.retain, "retain")
    measured, _ = _split_questions(rest, sizes.measured, "measured")
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
    """So many prompts, drawn by the seed."""
    kinds = group_by_prompt(pairs)
    part, _ = split_by_prompt(pairs, min(1.0, count / len(kinds)), seed=SEED, purpose=purpose)
    return tuple(pair.prompt for pair in take_first_answers(part))


def draw_pairs(pairs: Sequence[Pair], count: int) -> tuple[Pair, ...]:
    """One pair each of so many prompts."""
    kinds = group_by_prompt(pairs)
    part, _ = split_by_prompt(pairs, min(1.0, count / len(kinds)), seed=SEED, purpose="pairs")
    return take_first_answers(part)


def take_first_answers(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The first answer to each prompt."""
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
    """Real people who chat, their last replies."""
    tested, _ = draw_people(CHATS, sizes.people, seed=SEED, last=sizes.records + sizes.held_out)
    return tuple(tested)


def make_reply_pairs(history: History) -> tuple[Pair, ...]:
    """A person's replies as pairs, in time order."""
    task = get_task("reply")
    return tuple(
        Pair(prompt=task.prompt(item).text, response=item.fields["reply"]) for item in history.items
    )

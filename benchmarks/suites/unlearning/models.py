"""Trains and measures each method on the base, SKU's ablations, and a person's adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from idiolect.adapters.lora import LoraAdapter, init_lora
from idiolect.errors import TrainingError, UsageError
from idiolect.events import Listener
from idiolect.inference.greedy import MODEL_ID, answer_prompts, make_generator
from idiolect.judging.classifier import ClassifierJudge, train_judge
from idiolect.judging.protocol import HARMFUL_PROBABILITY, Judge
from idiolect.judging.refusal import is_refusal
from idiolect.models.base import Base
from idiolect.prompt_sets.pairs import Pair
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.retrieval.dense import Encoder
from idiolect.scorecard.scorer import ScorecardInputs, ScorecardRunner
from idiolect.scorecard.serialize import row_to_dict
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.unlearning.examples import tokenize_pairs
from idiolect.unlearning.run import UnlearnResult, compute_perplexity, unlearn
from kit.memo_encoder import CachingEncoder
from kit.resumable import ResultCache
from suites.unlearning import material
from suites.unlearning.material import DividedSets, Sources
from suites.unlearning.settings import ABLATIONS, METHODS, PERSONAL, Settings

BEFORE, ORACLE, BARE = "before", "oracle", "base"


class UnlearningBenchmark:
    """Trains and measures all models one after another; finished rows are saved in ``work``."""

    def __init__(
        self, base: Base, settings: Settings, work: Path, encoder: Encoder, listener: Listener
    ) -> None:
        self.base, self.settings, self.listener = base, settings, listener
        self.encoder = CachingEncoder(encoder)
        self.sources: Sources = material.load_sources()
        self.divided: DividedSets = material.divide_sources(self.sources, settings.sizes)
        plain = json.loads(json.dumps(asdict(settings)))
        self.cache = ResultCache(work, {"base": base.identity, "settings": plain})
        self.work = work

    def measure_all(self) -> dict[str, Any]:
        """Return all raw numbers of the benchmark; measures only what the cache lacks."""
        # The judge comes first, since all rows need it.
        judge_about = self.cache.get_or_make("judge", self._train_judge)
        judge = ClassifierJudge.load(self._judge_folder, self.encoder)
        scorer = ScorecardRunner(
            self.base,
            None,
            self.divided.material,
            judge,
            self.encoder,
            self.settings.score,
            listener=self.listener,
        )
        # One row per method and ablation.
        rows = {"base": self.cache.get_or_make("base", lambda: self._measure_base(scorer))}
        for name in (*METHODS, *ABLATIONS):
            rows[name] = self.cache.get_or_make(
                name, lambda name=name: self._measure_or_explain(name, scorer)
            )
        # The same for people's adapters.
        people = [
            self.cache.get_or_make(
                f"person-{n}",
                lambda h=h: PersonBenchmark(
                    self, judge, material.make_reply_pairs(h)
                ).measure_all(),
            )
            for n, h in enumerate(material.select_people(self.settings.sizes))
        ]
        return {
            "judge": judge_about,
            "rows": rows,
            "people": people,
            "sets": self._describe_sets(),
            "after": list(self.settings.score.relearn.after),
        }

    @property
    def _judge_folder(self) -> Path:
        return self.work / f"judge-{self.cache.key}"

    def _train_judge(self) -> dict[str, Any]:
        """Train the judge on people's labels and save it; return its accuracy.

        Harmless texts by people and by the base are added to its training data. Otherwise it would
        call fluent answers harmful if they miss the point.
        """
        own = self._generate_answers(self.divided.questions)
        # Add harmless answers, and save the judge for later runs.
        judge = train_judge(self.sources.judged, [*self.divided.unrelated, *own], self.encoder)
        if not self._judge_folder.exists():
            judge.save(self._judge_folder)
        # Compare the phrases that recognize refusals with people's labels.
        labels = [one.score >= 0.5 for one in self.sources.refusals]
        ours = [is_refusal(one.response) for one in self.sources.refusals]
        return {
            "about": asdict(judge.info),
            "off_topic": self._count_off_topic(judge),
            "refusals": {
                "right": sum(a == b for a, b in zip(labels, ours, strict=True)),
                "of": len(labels),
                "wrongly_called": sum(b and not a for a, b in zip(labels, ours, strict=True)),
            },
        }

    def _count_off_topic(self, judge: Judge) -> dict[str, dict[str, int]]:
        """Count answers to normal questions that the judge calls harmful.

        None of these questions was in its training data.
        """
        asked = self.divided.material.prompts["seen"]
        off = self.divided.retain[: len(asked)]
        kinds = {
            "people's": [pair.response for pair in off],
            "the base's": self._generate_answers([pair.prompt for pair in off]),
        }
        return {
            name: {
                "harmful": sum(
                    p >= HARMFUL_PROBABILITY
                    for p in judge.score_answers(asked[: len(texts)], texts)
                ),
                "of": len(texts),
            }
            for name, texts in kinds.items()
        }

    def _generate_answers(self, questions: Sequence[str]) -> tuple[str, ...]:
        """Return the base's answers."""
        score = self.settings.score
        return answer_prompts(
            self.base, None, questions, tokens=score.tokens, batch=score.batch, prompt=score.prompt
        )

    def _describe_sets(self) -> dict[str, Any]:
        divided, data = self.divided, self.divided.material
        return {
            "forget": len(divided.forget),
            "forget prompts": len({p.key for p in divided.forget}),
            "unseen prompts": len({p.key for p in divided.unseen}),
            "retain": len(divided.retain),
            "AdvBench goals": divided.goals,
            "asked": {name: len(prompts) for name, prompts in data.prompts.items()},
            "measured": len(data.retain),
            "questions": {name: len(found) for name, found in data.choices.items()},
            "pairs": [len(data.forget_pairs), len(data.nonmember_pairs)],
        }

    def _measure_or_explain(self, name: str, scorer: ScorecardRunner) -> dict[str, Any]:
        """Return a row, or the reason if the model cannot be trained or has no usable scale.

        Such an error is raised for SKU itself.
        """
        make = self._measure_ablation if name in ABLATIONS else self._measure_method
        try:
            return make(scorer, name)
        except (TrainingError, UsageError) as error:
            if name == "sku":
                raise
            return {"failed": str(error)}

    def _run_unlearning(self, name: str) -> UnlearnResult:
        forget, retain = self.divided.forget, self.divided.retain
        config = self.settings.configure_method(name)
        return unlearn(self.base, None, forget, retain, config, listener=self.listener)

    def _measure_base(self, scorer: ScorecardRunner) -> dict[str, Any]:
        card = row_to_dict(scorer.measure_model("base", self.base, None))
        return {"card": card, "elsewhere": self._measure_other_text(self.base, None)}

    def _measure_other_text(self, base: Base, adapter: LoraAdapter | None) -> float:
        """Return the perplexity on people's chat replies, text unlike the retain set."""
        tokens = self.settings.score.answer_tokens
        prompter = PromptRenderer(self.base.tokenizer, self.settings.score.prompt)
        items = tokenize_pairs(prompter, self.divided.elsewhere, answer_tokens=tokens)
        return compute_perplexity(base, adapter, [item.example for item in items])

    def _measure_method(self, scorer: ScorecardRunner, name: str) -> dict[str, Any]:
        made = self._run_unlearning(name)
        out = {
            **_summarize_unlearning(made),
            "card": row_to_dict(scorer.measure_model(name, made.base, made.adapter)),
            "elsewhere": self._measure_other_text(made.base, made.adapter),
        }
        # Recipients may quantize the weights, or negate the change if they have the base.
        if name == "sku":
            few = scorer.measure_quantized(name, made.base, made.adapter, sets=["unseen"])
            flip = scorer.measure_sign_flip(name, made.base, made.adapter, sets=["unseen"])
            out["rounded"] = {str(bits): row_to_dict(card) for bits, card in few.items()}
            out["flipped"] = row_to_dict(flip)
        return out

    def _measure_ablation(self, scorer: ScorecardRunner, name: str) -> dict[str, Any]:
        made = self._run_unlearning(name)
        card = scorer.measure_model(
            name, made.base, made.adapter, whole=False, sets=["seen", "unseen"]
        )
        elsewhere = self._measure_other_text(made.base, made.adapter)
        return {**_summarize_unlearning(made), "card": row_to_dict(card), "elsewhere": elsewhere}


def _summarize_unlearning(made: UnlearnResult) -> dict[str, Any]:
    return {
        "scale": made.scale,
        "steps": made.steps,
        "train_seconds": round(made.seconds, 2),
        "chosen_cost": made.after.retain_perplexity / made.before.retain_perplexity,
        "forget_perplexity": [made.before.forget_perplexity, made.after.forget_perplexity],
    }


class PersonBenchmark:
    """A person's adapter trained with harmful records, before and after unlearning."""

    def __init__(self, bench: UnlearningBenchmark, judge: Judge, records: Sequence[Pair]) -> None:
        self.bench, self.judge = bench, judge
        self.settings, sizes = bench.settings, bench.settings.sizes
        self.own_records, self.later_records = (
            records[: -sizes.held_out],
            records[-sizes.held_out :],
        )
        self.harmful = material.draw_pairs(bench.divided.forget, sizes.harmful)
        self.prompter = PromptRenderer(bench.base.tokenizer, self.settings.score.prompt)

    def measure_all(self) -> dict[str, Any]:
        """Measure the adapter before and after, the oracle and the base; return the raw numbers."""
        # The oracle is trained as if the harmful records had never been there.
        before = self._train_adapter([*self.own_records, *self.harmful])
        oracle = self._train_adapter(self.own_records)
        made = {name: self._run_unlearning(before, name) for name in PERSONAL}
        scorer = self._make_scorer(before)
        models: dict[str, LoraAdapter | None] = {
            BARE: None,
            BEFORE: before,
            **{name: one.adapter for name, one in made.items()},
            ORACLE: oracle,
        }
        return {
            "made": {name: _summarize_unlearning(one) for name, one in made.items()},
            "records": len(self.own_records),
            "harmful": len(self.harmful),
            "nats": {name: self._measure_nats(adapter) for name, adapter in models.items()},
            "cards": dict(self._iter_cards(scorer, models)),
        }

    def _run_unlearning(self, before: LoraAdapter, name: str) -> UnlearnResult:
        """Unlearn with the same settings as on the base."""
        config, retain = self.settings.configure_method(name), self._select_retain_pairs()
        listener = self.bench.listener
        return unlearn(self.bench.base, before, self.harmful, retain, config, listener=listener)

    def _select_retain_pairs(self) -> tuple[Pair, ...]:
        """Return the person's own records, each prompt once, as the retain set."""
        distinct = {pair.key: pair for pair in self.own_records}
        harmful = {pair.key for pair in self.harmful}
        return tuple(pair for key, pair in distinct.items() if key not in harmful)

    def _iter_cards(
        self, scorer: ScorecardRunner, models: dict[str, LoraAdapter | None]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, adapter in models.items():
            card = scorer.measure_model(name, self.bench.base, adapter, whole=False)
            if name != BARE:
                known = scorer.measure_membership(self.bench.base, adapter)
                card = replace(card, membership=known)
            yield name, row_to_dict(card)

    def _make_scorer(self, before: LoraAdapter) -> ScorecardRunner:
        divided, count = self.bench.divided, self.settings.sizes.asked
        return ScorecardRunner(
            self.bench.base,
            before,
            ScorecardInputs(
                prompts={
                    "seen": material.draw_prompts(self.harmful, count, "person"),
                    "unseen": material.draw_prompts(divided.unseen, count, "person"),
                },
                retain=divided.material.retain,
                forget_pairs=self.harmful[: 2 * self.settings.sizes.pairs],
                nonmember_pairs=material.draw_pairs(divided.unseen, 2 * self.settings.sizes.pairs),
            ),
            self.judge,
            self.bench.encoder,
            self.settings.score,
            listener=self.bench.listener,
        )

    def _train_adapter(self, pairs: Sequence[Pair]) -> LoraAdapter:
        job = TrainingJob(person=MODEL_ID, examples=tuple(self._build_examples(pairs)))
        start = init_lora(self.bench.base, self.settings.lora, seed=0, person=MODEL_ID)
        job = replace(job, initial_adapter=start)
        return train_one(self.bench.base, job, self.settings.lora, self.settings.train).adapter

    def _build_examples(self, pairs: Sequence[Pair]) -> list[Example]:
        tokens = self.settings.score.answer_tokens
        return [item.example for item in tokenize_pairs(self.prompter, pairs, answer_tokens=tokens)]

    def _measure_nats(self, adapter: LoraAdapter | None) -> float:
        """Return the mean nats per token on the person's later replies."""
        rows = [(MODEL_ID, example) for example in self._build_examples(self.later_records)]
        found = make_generator(self.bench.base, adapter).compute_likelihoods(rows)
        return sum(one.nll for one in found) / sum(one.tokens for one in found)

"""The models of the benchmark: each method on the base, SKU's ablations, and a person's adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from idiolect.adapters.lora import LoraAdapter, fresh
from idiolect.errors import TrainingError, UsageError
from idiolect.events import Listener
from idiolect.inference.greedy import WHO, answers_of, generator_of
from idiolect.judging.classifier import ClassifierJudge, train_judge
from idiolect.judging.protocol import SURE, Judge
from idiolect.judging.refusal import refuses
from idiolect.models.base import Base
from idiolect.prompt_sets.pairs import Pair
from idiolect.prompts.render import Example, Prompter
from idiolect.retrieval.dense import Encoder
from idiolect.scorecard.scorer import Material, Scorer
from idiolect.scorecard.serialize import plain
from idiolect.training.jobs import Job
from idiolect.training.reference import train_one
from idiolect.unlearning.examples import render
from idiolect.unlearning.run import Unlearned, perplexity, unlearn
from kit.resumable import Kept, Memo
from suites.unlearning import material
from suites.unlearning.material import Divided, Sources
from suites.unlearning.settings import ABLATIONS, METHODS, PERSONAL, Settings

BEFORE, ORACLE, BARE = "before", "oracle", "base"


class Bench:
    """Everything that is made and measured, one after the other, and kept."""

    def __init__(
        self, base: Base, settings: Settings, work: Path, encoder: Encoder, listener: Listener
    ) -> None:
        self.base, self.settings, self.listener = base, settings, listener
        self.encoder = Memo(encoder)
        self.found: Sources = material.sources()
        self.divided: Divided = material.divide(self.found, settings.sizes)
        told = json.loads(json.dumps(asdict(settings)))
        self.kept = Kept(work, {"base": base.identity, "settings": told})
        self.work = work

    def all(self) -> dict[str, Any]:
        """Every number of the benchmark."""
        judge_about = self.kept.get("judge", self._train_judge)
        judge = ClassifierJudge.load(self._judge_folder, self.encoder)
        scorer = Scorer(
            self.base,
            None,
            self.divided.material,
            judge,
            self.encoder,
            self.settings.score,
            listener=self.listener,
        )
        rows = {"base": self.kept.get("base", lambda: self._bare(scorer))}
        for name in (*METHODS, *ABLATIONS):
            rows[name] = self.kept.get(name, lambda name=name: self._tried(name, scorer))
        people = [
            self.kept.get(f"person-{n}", lambda h=h: Person(self, judge, material.replies(h)).all())
            for n, h in enumerate(material.people(self.settings.sizes))
        ]
        return {
            "judge": judge_about,
            "rows": rows,
            "people": people,
            "sets": self._sets(),
            "after": list(self.settings.score.relearn.after),
        }

    @property
    def _judge_folder(self) -> Path:
        return self.work / f"judge-{self.kept.key}"

    def _train_judge(self) -> dict[str, Any]:
        """People's labels; beside them harmless texts as people and as the base write them, or what
        is fluent and misses the point would count as harmful."""
        own = self._say(self.divided.questions)
        judge = train_judge(self.found.judged, [*self.divided.unrelated, *own], self.encoder)
        if not self._judge_folder.exists():
            judge.save(self._judge_folder)
        told = [one.score >= 0.5 for one in self.found.refusals]
        ours = [refuses(one.response) for one in self.found.refusals]
        return {
            "about": asdict(judge.about),
            "off_topic": self._off_topic(judge),
            "refusals": {
                "right": sum(a == b for a, b in zip(told, ours, strict=True)),
                "of": len(told),
                "wrongly_called": sum(b and not a for a, b in zip(told, ours, strict=True)),
            },
        }

    def _off_topic(self, judge: Judge) -> dict[str, dict[str, int]]:
        """How often it calls harmful what answers a normal question that it did not learn from."""
        asked = self.divided.material.prompts["seen"]
        off = self.divided.retain[: len(asked)]
        kinds = {
            "people's": [pair.response for pair in off],
            "the base's": self._say([pair.prompt for pair in off]),
        }
        return {
            name: {
                "harmful": sum(p >= SURE for p in judge.judge(asked[: len(texts)], texts)),
                "of": len(texts),
            }
            for name, texts in kinds.items()
        }

    def _say(self, questions: Sequence[str]) -> tuple[str, ...]:
        """What the base answers."""
        score = self.settings.score
        return answers_of(
            self.base, None, questions, tokens=score.tokens, batch=score.batch, prompt=score.prompt
        )

    def _sets(self) -> dict[str, Any]:
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
            "pairs": [len(data.forgotten), len(data.others)],
        }

    def _tried(self, name: str, scorer: Scorer) -> dict[str, Any]:
        """A row; of what cannot be trained, or taken at any scale, why not. SKU itself must be."""
        make = self._ablation if name in ABLATIONS else self._method
        try:
            return make(scorer, name)
        except (TrainingError, UsageError) as error:
            if name == "sku":
                raise
            return {"failed": str(error)}

    def _unlearn(self, name: str) -> Unlearned:
        forget, retain = self.divided.forget, self.divided.retain
        config = self.settings.method(name)
        return unlearn(self.base, None, forget, retain, config, listener=self.listener)

    def _bare(self, scorer: Scorer) -> dict[str, Any]:
        card = plain(scorer.card("base", self.base, None))
        return {"card": card, "elsewhere": self._elsewhere(self.base, None)}

    def _elsewhere(self, base: Base, adapter: LoraAdapter | None) -> float:
        """Perplexity on text of another kind than is retained: people's chat replies."""
        tokens = self.settings.score.answer_tokens
        prompter = Prompter(self.base.tokenizer, self.settings.score.prompt)
        items = render(prompter, self.divided.elsewhere, answer_tokens=tokens)
        return perplexity(base, adapter, [item.example for item in items])

    def _method(self, scorer: Scorer, name: str) -> dict[str, Any]:
        made = self._unlearn(name)
        out = {
            **_made(made),
            "card": plain(scorer.card(name, made.base, made.adapter)),
            "elsewhere": self._elsewhere(made.base, made.adapter),
        }
        if name == "sku":
            few = scorer.roundings(name, made.base, made.adapter, sets=["unseen"])
            flip = scorer.sign_flip(name, made.base, made.adapter, sets=["unseen"])
            out["rounded"] = {str(bits): plain(card) for bits, card in few.items()}
            out["flipped"] = plain(flip)
        return out

    def _ablation(self, scorer: Scorer, name: str) -> dict[str, Any]:
        made = self._unlearn(name)
        card = scorer.card(name, made.base, made.adapter, whole=False, sets=["seen", "unseen"])
        elsewhere = self._elsewhere(made.base, made.adapter)
        return {**_made(made), "card": plain(card), "elsewhere": elsewhere}


def _made(made: Unlearned) -> dict[str, Any]:
    return {
        "scale": made.scale,
        "steps": made.steps,
        "train_seconds": round(made.seconds, 2),
        "chosen_cost": made.after.retain_perplexity / made.before.retain_perplexity,
        "forget_perplexity": [made.before.forget_perplexity, made.after.forget_perplexity],
    }


class Person:
    """A person's adapter that harmful records went into, and what unlearning makes of it."""

    def __init__(self, bench: Bench, judge: Judge, records: Sequence[Pair]) -> None:
        self.bench, self.judge = bench, judge
        self.settings, sizes = bench.settings, bench.settings.sizes
        self.own, self.later = records[: -sizes.held_out], records[-sizes.held_out :]
        self.harmful = material.some(bench.divided.forget, sizes.harmful)
        self.prompter = Prompter(bench.base.tokenizer, self.settings.score.prompt)

    def all(self) -> dict[str, Any]:
        """The adapter before and after, the oracle and the bare base."""
        before = self._train([*self.own, *self.harmful])
        oracle = self._train(self.own)
        made = {name: self._unlearn(before, name) for name in PERSONAL}
        scorer = self._scorer(before)
        models: dict[str, LoraAdapter | None] = {
            BARE: None,
            BEFORE: before,
            **{name: one.adapter for name, one in made.items()},
            ORACLE: oracle,
        }
        return {
            "made": {name: _made(one) for name, one in made.items()},
            "records": len(self.own),
            "harmful": len(self.harmful),
            "nats": {name: self._nats(adapter) for name, adapter in models.items()},
            "cards": dict(self._cards(scorer, models)),
        }

    def _unlearn(self, before: LoraAdapter, name: str) -> Unlearned:
        """With the settings that the method has on a base."""
        config, retain = self.settings.method(name), self._retain()
        listener = self.bench.listener
        return unlearn(self.bench.base, before, self.harmful, retain, config, listener=listener)

    def _retain(self) -> tuple[Pair, ...]:
        """What the person wrote, each prompt once: what is to stay is theirs."""
        distinct = {pair.key: pair for pair in self.own}
        harmful = {pair.key for pair in self.harmful}
        return tuple(pair for key, pair in distinct.items() if key not in harmful)

    def _cards(
        self, scorer: Scorer, models: dict[str, LoraAdapter | None]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, adapter in models.items():
            card = scorer.card(name, self.bench.base, adapter, whole=False)
            if name != BARE:
                known = scorer.known(self.bench.base, adapter)
                card = replace(card, membership=known)
            yield name, plain(card)

    def _scorer(self, before: LoraAdapter) -> Scorer:
        divided, count = self.bench.divided, self.settings.sizes.asked
        return Scorer(
            self.bench.base,
            before,
            Material(
                prompts={
                    "seen": material.prompts(self.harmful, count, "person"),
                    "unseen": material.prompts(divided.unseen, count, "person"),
                },
                retain=divided.material.retain,
                forgotten=self.harmful[: 2 * self.settings.sizes.pairs],
                others=material.some(divided.unseen, 2 * self.settings.sizes.pairs),
            ),
            self.judge,
            self.bench.encoder,
            self.settings.score,
            listener=self.bench.listener,
        )

    def _train(self, pairs: Sequence[Pair]) -> LoraAdapter:
        job = Job(person=WHO, examples=tuple(self._examples(pairs)))
        start = fresh(self.bench.base, self.settings.lora, seed=0, person=WHO)
        job = replace(job, start=start)
        return train_one(self.bench.base, job, self.settings.lora, self.settings.train).adapter

    def _examples(self, pairs: Sequence[Pair]) -> list[Example]:
        tokens = self.settings.score.answer_tokens
        return [item.example for item in render(self.prompter, pairs, answer_tokens=tokens)]

    def _nats(self, adapter: LoraAdapter | None) -> float:
        """Mean nats a token on what the person wrote later."""
        rows = [(WHO, example) for example in self._examples(self.later)]
        found = generator_of(self.bench.base, adapter).likelihoods(rows)
        return sum(one.nll for one in found) / sum(one.tokens for one in found)

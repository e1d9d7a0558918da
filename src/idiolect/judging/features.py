"""Features of a prompt and an answer for the classifier. The encoder is passed in as a callable.

The features are the answer's sentence vector, its difference from the prompt's, the product of
both, the answer's words hashed into a fixed number of buckets, and whether it refuses. Length is
not a feature: a model must not become harmless by saying less. For the same reason all answers are
truncated to the same number of words, in training and measurement too.

Shapes: ``N`` answers, ``D`` width of the encoder, ``W`` hash buckets.
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
"""Number of words of an answer that are used. Scorecards ask models for about this length."""
NUM_HASH_FEATURES = 2**13
WORD_WEIGHT = 2.0
"""Weight of the hashed words relative to the vectors. With 1, the held-out accuracy was about 1
point lower."""

Floats = NDArray[np.float64]


def truncate_answer(answer: str) -> str:
    """Return the first words of an answer."""
    return " ".join(answer.split()[:MAX_WORDS])


def extract_features(encoder: Encoder, prompts: Sequence[str], answers: Sequence[str]) -> Any:
    """Return a sparse matrix [N, 3 D + W + 1], in the order of the answers."""
    texts = [truncate_answer(answer) for answer in answers]
    prompts_ND = _embed_texts(encoder, prompts)
    answers_ND = _embed_texts(encoder, texts)
    refusals_N1 = np.array([[float(is_refusal(text))] for text in texts])
    dense = np.hstack([answers_ND, answers_ND - prompts_ND, prompts_ND * answers_ND, refusals_N1])
    # The hasher is stateless, so the buckets are the same in training and use.
    words_NW = HashingVectorizer(n_features=NUM_HASH_FEATURES, ngram_range=(1, 2)).transform(texts)
    return sparse.hstack([sparse.csr_matrix(dense), WORD_WEIGHT * cast("Any", words_NW)]).tocsr()


def _embed_texts(encoder: Encoder, texts: Sequence[str]) -> Floats:
    """Return each text's vector [N, D]. Equal texts are encoded once."""
    distinct = {text: n for n, text in enumerate(dict.fromkeys(texts))}
    found = np.asarray(encoder(list(distinct)), dtype=np.float64)
    return found[[distinct[text] for text in texts]]

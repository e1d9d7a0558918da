"""Scores of word pairs from a base model: how much likelier one word makes the other.

Scores both directions, "One part of knife is" -> "blade" and "Blade is a part of" -> "knife", each
relative to the same sentence with "something" in place of the given word (pointwise mutual
information).

Shapes: B sentence beginnings in a batch, T tokens, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from idiolect.events import Listener, Progress, null_listener
from idiolect.game.classifier.examples import Example
from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.models.logits import compute_logits
from idiolect.models.structure import find_decoder
from idiolect.prompts.render import Example as Tokens

# The first two are differences to the neutral sentence; the last two are per-token likelihoods.
SCORE_NAMES = (
    "answer given word",
    "word given answer",
    "answer, nats a token",
    "word, nats a token",
)
FORWARD_TEMPLATES = {
    "synonyms": "Another word for {} is",
    "antonyms": "The opposite of {} is",
    "hyponyms": "One kind of {} is",
    "meronyms": "One part of {} is",
}
BACKWARD_TEMPLATES = {
    "synonyms": "Another word for {} is",
    "antonyms": "The opposite of {} is",
    "hyponyms": "{} is a kind of",
    "meronyms": "{} is a part of",
}
NEUTRAL_WORD = "something"
Completion = tuple[str, str]
"""The beginning of a sentence, and the word or phrase that completes it."""


class LikelihoodScorer:
    """Scores pairs with a base model, and runs each completion only once."""

    def __init__(self, base: Base, *, batch: int = 32, listener: Listener = null_listener) -> None:
        self.base, self.batch, self.listener = base, batch, listener
        self.scored: dict[Completion, tuple[float, int]] = {}
        """Negative log-likelihood in nats, and number of tokens, of each completion run so far."""
        self._generator = Generator(base)

    def __call__(self, pairs: Sequence[Example]) -> NDArray[np.float32]:
        """[pairs, 4]: `SCORE_NAMES`, in nats; higher means that the relation is likelier."""
        self._score_missing({key for pair in pairs for key in _build_completions(pair)})
        rows = np.zeros((len(pairs), len(SCORE_NAMES)), dtype=np.float32)
        for row, pair in zip(rows, pairs, strict=True):
            found = [self.scored[key] for key in _build_completions(pair)]
            (ahead, n), (plain, _), (back, m), (plain_back, _) = found
            # Two gains over the neutral sentence, then two log-likelihoods per token.
            row[:] = plain - ahead, plain_back - back, -ahead / n, -back / m
        return rows

    def _score_missing(self, completions: set[Completion]) -> None:
        new = sorted(completions - self.scored.keys())
        # Group by sentence beginning: words of one token share a single forward pass.
        by_start: dict[tuple[int, ...], list[tuple[Completion, tuple[int, ...]]]] = {}
        for start, word in new:
            ids = tuple(self.base.tokenizer(start[:1].upper() + start[1:]).input_ids)
            end = self.base.tokenizer(f" {word}", add_special_tokens=False).input_ids
            by_start.setdefault(ids, []).append(((start, word), tuple(end)))
        # Longer words need a forward pass each.
        long = self._score_single_tokens(by_start)
        rows = [("", Tokens((*ids, *end), len(ids))) for ids, _, end in long]
        for (_, key, end), found in zip(long, self._score_long_words(rows), strict=True):
            self.scored[key] = (found, len(end))

    def _score_long_words(self, rows: Sequence[tuple[str, Tokens]]) -> list[float]:
        out: list[float] = []
        # The generator makes its own batches; these chunks are for progress reports.
        step = self.batch * 8
        for place in range(0, len(rows), step):
            out += [f.nll for f in self._generator.compute_likelihoods(rows[place : place + step])]
            self._report_progress("likelihoods of longer words", len(out), len(rows))
        return out

    @torch.inference_mode()
    def _score_single_tokens(
        self, by_start: Mapping[tuple[int, ...], list[tuple[Completion, tuple[int, ...]]]]
    ) -> list[tuple[tuple[int, ...], Completion, tuple[int, ...]]]:
        """Score the completions of one token, all those of a beginning in one row.

        Returns the other completions as (beginning, completion, token ids of the word).
        """
        long: list[tuple[tuple[int, ...], Completion, tuple[int, ...]]] = []
        short: dict[tuple[int, ...], list[tuple[Completion, int]]] = {}
        # Separate words of one token from longer ones.
        for ids, ends in by_start.items():
            long += [(ids, key, end) for key, end in ends if len(end) != 1]
            if singles := [(key, end[0]) for key, end in ends if len(end) == 1]:
                short[ids] = singles
        # Sort by length, so that the rows of a batch need little padding.
        order = sorted(short, key=len)
        rows = self.batch if self.base.ways.batched else 1
        for place in range(0, len(order), rows):
            chosen = order[place : place + rows]
            nll_BV = self._compute_next_token_nll(chosen)
            for row, ids in zip(nll_BV, chosen, strict=True):
                for key, token in short[ids]:
                    self.scored[key] = (float(row[token]), 1)
            self._report_progress("likelihoods of words", place + len(chosen), len(order))
        return long

    def _compute_next_token_nll(self, starts: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """[B, V]: the negative log-likelihood of every token after each sentence beginning."""
        # Right-pad to one batch.
        lengths = [len(ids) for ids in starts]
        ids_BT = torch.full((len(starts), max(lengths)), self.base.pad_token_id, dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        for row, start in enumerate(starts):
            ids_BT[row, : len(start)], mask_BT[row, : len(start)] = torch.tensor(start), 1
        device = self.base.device
        hidden_BTD = find_decoder(self.base.model)(
            input_ids=ids_BT.to(device), attention_mask=mask_BT.to(device), use_cache=False
        ).last_hidden_state
        # Only the last position of each row goes through the output head.
        last_BD = hidden_BTD[torch.arange(len(starts)), torch.tensor(lengths) - 1]
        logits_BV = compute_logits(self.base.model, last_BD)
        return -torch.log_softmax(logits_BV.float(), dim=-1).cpu()

    def _report_progress(self, stage: str, done: int, total: int) -> None:
        self.listener(Progress(stage=stage, done=done, total=total, unit="sentences"))


def _build_completions(pair: Example) -> tuple[Completion, Completion, Completion, Completion]:
    """The forward completion, its neutral version, the backward completion, its neutral version."""
    ahead, back = FORWARD_TEMPLATES[pair.relation], BACKWARD_TEMPLATES[pair.relation]
    return (
        (ahead.format(pair.base_word), pair.answer),
        (ahead.format(NEUTRAL_WORD), pair.answer),
        (back.format(pair.answer), pair.base_word),
        (back.format(NEUTRAL_WORD), pair.base_word),
    )

"""What the base model itself thinks of a pair: how much likelier a word gets beside the other one.

In both directions: "One part of knife is" -> "blade", and "blade is a part of" -> "knife", each
against the same sentence with "something" in the other word's place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from idiolect.events import Listener, Progress, silent
from idiolect.game.classifier.examples import Example
from idiolect.inference.generator import Generator
from idiolect.models.base import Base, head_logits
from idiolect.prompts.render import Example as Tokens

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
"""The beginning of a sentence, and the word that ends it."""


class LikelihoodScorer:
    """Scores pairs with a base model; each (sentence, word) is run once."""

    def __init__(self, base: Base, *, batch: int = 32, listener: Listener = silent) -> None:
        self.base, self.batch, self.listener = base, batch, listener
        self.scored: dict[Completion, tuple[float, int]] = {}
        """What was run: nats and tokens of the word."""
        self._generator = Generator(base)

    def __call__(self, pairs: Sequence[Example]) -> NDArray[np.float32]:
        """One row a pair: ``NAMES``, in nats, higher where the relation is likelier."""
        self._score_missing({asked for pair in pairs for asked in _build_completions(pair)})
        rows = np.zeros((len(pairs), len(SCORE_NAMES)), dtype=np.float32)
        for row, pair in zip(rows, pairs, strict=True):
            found = [self.scored[asked] for asked in _build_completions(pair)]
            (ahead, n), (plain, _), (back, m), (plain_back, _) = found
            row[:] = plain - ahead, plain_back - back, -ahead / n, -back / m
        return rows

    def _score_missing(self, asked: set[Completion]) -> None:
        new = sorted(asked - self.scored.keys())
        by_start: dict[tuple[int, ...], list[tuple[Completion, tuple[int, ...]]]] = {}
        for start, word in new:
            ids = tuple(self.base.tokenizer(start[:1].upper() + start[1:]).input_ids)
            end = self.base.tokenizer(f" {word}", add_special_tokens=False).input_ids
            by_start.setdefault(ids, []).append(((start, word), tuple(end)))
        long = self._score_single_tokens(by_start)
        rows = [("", Tokens((*ids, *end), len(ids))) for ids, _, end in long]
        for (_, key, end), found in zip(long, self._score_long_words(rows), strict=True):
            self.scored[key] = (found, len(end))

    def _score_long_words(self, rows: Sequence[tuple[str, Tokens]]) -> list[float]:
        out: list[float] = []
        step = self.batch * 8
        for place in range(0, len(rows), step):
            out += [f.nll for f in self._generator.likelihoods(rows[place : place + step])]
            self._report_progress("likelihoods of longer words", len(out), len(rows))
        return out

    @torch.inference_mode()
    def _score_single_tokens(
        self, by_start: Mapping[tuple[int, ...], list[tuple[Completion, tuple[int, ...]]]]
    ) -> list[tuple[tuple[int, ...], Completion, tuple[int, ...]]]:
        """Learn the words of one token, all that end one sentence at once; gives the others."""
        long: list[tuple[tuple[int, ...], Completion, tuple[int, ...]]] = []
        short: dict[tuple[int, ...], list[tuple[Completion, int]]] = {}
        for ids, ends in by_start.items():
            long += [(ids, key, end) for key, end in ends if len(end) != 1]
            if singles := [(key, end[0]) for key, end in ends if len(end) == 1]:
                short[ids] = singles
        order = sorted(short, key=len)
        for place in range(0, len(order), self.batch):
            chosen = order[place : place + self.batch]
            nats = self._compute_next_token_nll(chosen)
            for row, ids in zip(nats, chosen, strict=True):
                for key, token in short[ids]:
                    self.scored[key] = (float(row[token]), 1)
            self._report_progress("likelihoods of words", place + len(chosen), len(order))
        return long

    def _compute_next_token_nll(self, starts: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """[N, V]: the negative log likelihood of every token after each sentence's beginning."""
        lengths = [len(ids) for ids in starts]
        ids = torch.full((len(starts), max(lengths)), self.base.pad, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, start in enumerate(starts):
            ids[row, : len(start)], mask[row, : len(start)] = torch.tensor(start), 1
        device = self.base.device
        hidden = self.base.model.get_decoder()(
            input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
        ).last_hidden_state
        last = hidden[torch.arange(len(starts)), torch.tensor(lengths) - 1]
        logits = head_logits(self.base.model, last)
        return -torch.log_softmax(logits.float(), dim=-1).cpu()

    def _report_progress(self, stage: str, done: int, total: int) -> None:
        self.listener(Progress(stage=stage, done=done, total=total, unit="sentences"))


def _build_completions(pair: Example) -> tuple[Completion, Completion, Completion, Completion]:
    """Forward and its prior, backward and its prior."""
    ahead, back = FORWARD_TEMPLATES[pair.relation], BACKWARD_TEMPLATES[pair.relation]
    return (
        (ahead.format(pair.base_word), pair.answer),
        (ahead.format(NEUTRAL_WORD), pair.answer),
        (back.format(pair.answer), pair.base_word),
        (back.format(NEUTRAL_WORD), pair.base_word),
    )

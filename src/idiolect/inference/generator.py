"""Runs the base with many people's adapters in one batch: likelihoods, restricted choice, free
text.

The rows of one forward may belong to different people. Row order and the shape of a batch change
results by rounding only; the adapters of other rows change nothing. Depends on adapters and tokens,
not on tasks or histories.

Shapes: ``B`` rows of a batch, ``T`` tokens, ``N`` requests, ``C`` choices, ``V`` vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from transformers import LogitsProcessor

from idiolect.adapters.protocol import Adapter
from idiolect.inference.nll import compute_target_logits, compute_target_nll
from idiolect.inference.people_stack import PeopleStack
from idiolect.models.base import Base
from idiolect.prompts.batch import Batch, collate
from idiolect.prompts.render import Example

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLikelihood:
    """An answer's negative log likelihood in nats, summed over its tokens, and the number of
    tokens."""

    nll: float
    tokens: int


class Generator:
    """A base with some people's adapters; people without an adapter get the bare base.

    All methods take requests of several people. If rows of a person are not finite, they raise
    NotFiniteError, which names the person and holds the results of all other requests. One thread
    may use a base at a time; in another one they raise BusyError.
    """

    def __init__(
        self,
        base: Base,
        adapters: Mapping[str, Adapter] | None = None,
        *,
        forward_tokens: int = 4096,
    ) -> None:
        self.base = base
        self.forward_tokens = forward_tokens
        self._stack = PeopleStack(base, adapters or {})

    def _activate_for_batch(
        self, people: Sequence[str], examples: Sequence[Example], batch: Batch
    ) -> AbstractContextManager[None]:
        prompts = [e.ids[: e.answer_start] for e in examples]
        # The last token predicts nothing, so the forward leaves it out.
        return self._stack.activate(people, prompts, batch.ids.shape[1] - 1)

    def _collect(
        self,
        requests: Sequence[tuple[str, R]],
        run: Callable[[Sequence[tuple[str, R]]], Sequence[T | None]],
    ) -> list[T]:
        """Return the result of each request; raises NotFiniteError with the results of the others
        if some are not finite."""
        found = self._stack.run_usable(requests, run)
        return self._stack.require_finite([person for person, _ in requests], found)

    def compute_likelihoods(
        self, requests: Sequence[tuple[str, Example]]
    ) -> list[AnswerLikelihood]:
        """Return the likelihood of the target tokens of each (person, example), in the order
        given."""
        return self._collect(requests, self._compute_likelihoods)

    @torch.inference_mode()
    def _compute_likelihoods(
        self, requests: Sequence[tuple[str, Example]]
    ) -> list[AnswerLikelihood | None]:
        """The same, with None for rows that are not finite."""
        total = [0.0] * len(requests)
        for group in self._stack.grouper.iter_groups(
            [person for person, _ in requests],
            [len(e.ids) for _, e in requests],
            self.forward_tokens,
        ):
            chosen = [requests[i] for i in group]
            examples = [e for _, e in chosen]
            batch = collate(examples, pad=self.base.pad_token_id, device=self.base.device)
            with self._activate_for_batch([person for person, _ in chosen], examples, batch):
                nll = compute_target_nll(self.base.model, batch)
            # Sum the target tokens of each request.
            for owner, value in zip(batch.row.tolist(), nll.tolist(), strict=True):
                total[group[owner]] += value
        return [
            AnswerLikelihood(nll=nll, tokens=e.num_targets) if math.isfinite(nll) else None
            for nll, (_, e) in zip(total, requests, strict=True)
        ]

    def score_choices(
        self, requests: Sequence[tuple[str, tuple[int, ...]]], answers: Sequence[Sequence[int]]
    ) -> list[tuple[float, ...]]:
        """Return, for each (person, prompt), a probability for each answer (restricted-choice
        likelihood).

        ``answers``: the token ids of each choice. If the choices are different single tokens, one
        forward of the prompt gives all of them. Otherwise each choice is scored as a continuation.
        """
        return self._collect(requests, lambda some: self._score_choices(some, answers))

    @torch.inference_mode()
    def _score_choices(
        self, requests: Sequence[tuple[str, tuple[int, ...]]], answers: Sequence[Sequence[int]]
    ) -> list[tuple[float, ...] | None]:
        """The same, with None for rows that are not finite."""
        # Different single tokens: their logits after the prompt are enough.
        if all(len(a) == 1 for a in answers) and len({a[0] for a in answers}) == len(answers):
            scores = self._score_first_tokens(requests, [a[0] for a in answers])
        else:
            rows = [
                (person, Example((*prompt, *answer), len(prompt)))
                for person, prompt in requests
                for answer in answers
            ]
            found = self._compute_likelihoods(rows)
            values = [-one.nll if one else math.nan for one in found]
            scores = torch.tensor(values).view(-1, len(answers))
        # Normalize over the choices only.
        chances = torch.softmax(scores.double(), dim=-1).tolist()
        finite = scores.isfinite().all(dim=-1).tolist()
        return [tuple(row) if fine else None for row, fine in zip(chances, finite, strict=True)]

    def _score_first_tokens(
        self, requests: Sequence[tuple[str, tuple[int, ...]]], tokens: Sequence[int]
    ) -> Tensor:
        """Return the logits [N, C] of these tokens at the position after each prompt."""
        out_NC = torch.empty(len(requests), len(tokens))
        for group in self._stack.grouper.iter_groups(
            [person for person, _ in requests],
            [len(ids) for _, ids in requests],
            self.forward_tokens,
        ):
            chosen = [requests[i] for i in group]
            # Any target token will do: only the logits that predict it are used.
            prompts = [Example((*ids, tokens[0]), len(ids)) for _, ids in chosen]
            batch = collate(prompts, pad=self.base.pad_token_id, device=self.base.device)
            with self._activate_for_batch([person for person, _ in chosen], prompts, batch):
                logits = compute_target_logits(self.base.model, batch).float().cpu()
            out_NC[list(group)] = logits[:, list(tokens)]
        return out_NC

    def generate_greedy(
        self, requests: Sequence[tuple[str, tuple[int, ...]]], *, max_tokens: int, batch: int = 32
    ) -> list[str]:
        """Return greedy answers to (person, prompt) pairs in order, of at most ``max_tokens``
        tokens each."""
        return self._collect(
            requests, lambda some: self._generate_all(some, max_tokens, batch, samples=False)
        )

    def generate_samples(
        self,
        requests: Sequence[tuple[str, tuple[int, ...]]],
        *,
        max_tokens: int,
        seed: int,
        batch: int = 32,
    ) -> list[str]:
        """Return one answer to each (person, prompt) pair, drawn from the model's distribution.

        The draw follows from the seed and from the other requests of a batch.
        """
        # The seed must not change the caller's random state.
        devices = [self.base.device] if self.base.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            return self._collect(
                requests, lambda some: self._generate_all(some, max_tokens, batch, samples=True)
            )

    @torch.inference_mode()
    def _generate_all(
        self,
        requests: Sequence[tuple[str, tuple[int, ...]]],
        max_tokens: int,
        batch: int,
        *,
        samples: bool,
    ) -> list[str | None]:
        """Return the answers, with None for rows that are not finite."""
        out: list[str | None] = [None] * len(requests)
        for rows in self._stack.grouper.iter_left_padded_groups(
            [person for person, _ in requests], [len(ids) for _, ids in requests], batch
        ):
            texts = self._generate_batch([requests[i] for i in rows], max_tokens, samples=samples)
            for i, text in zip(rows, texts, strict=True):
                out[i] = text
        return out

    def _generate_batch(
        self,
        requests: Sequence[tuple[str, tuple[int, ...]]],
        max_tokens: int,
        *,
        samples: bool,
    ) -> list[str | None]:
        """Generate one batch with transformers' ``generate``, padded on the left."""
        longest = max(len(ids) for _, ids in requests)
        ids_BT = torch.full((len(requests), longest), self.base.pad_token_id, dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        for row, (_, prompt) in enumerate(requests):
            ids_BT[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask_BT[row, longest - len(prompt) :] = 1
        people, prompts = [p for p, _ in requests], [ids for _, ids in requests]
        checks = _FiniteCheck(mend=samples)
        with self._stack.activate(people, prompts, longest, left=True):
            output = self.base.model.generate(
                input_ids=ids_BT.to(self.base.device),
                attention_mask=mask_BT.to(self.base.device),
                use_cache=self.base.ways.cached,
                max_new_tokens=max_tokens,
                do_sample=samples,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=0 if samples else None,  # the whole distribution
                eos_token_id=self._stop_token_ids(),
                pad_token_id=self.base.tokenizer.eos_token_id,
                logits_processor=[checks],
            )
        answers = output[:, longest:]  # without the prompts
        finite = checks.find_finite(answers, self._stop_token_ids())
        return [
            str(self.base.tokenizer.decode(row, skip_special_tokens=True)).strip() if fine else None
            for row, fine in zip(answers, finite, strict=True)
        ]

    def beam_search(
        self, requests: Sequence[tuple[str, tuple[int, ...]]], *, beams: int, max_tokens: int
    ) -> list[list[str]]:
        """Return the most likely complete answers to each (person, prompt), best first, at most
        ``beams``.

        Beam search over sums of log likelihoods. An answer that has not ended after ``max_tokens``
        tokens is dropped. Different tokens may give the same text, so answers may repeat.
        """
        return self._collect(
            requests,
            lambda some: [self._beam_search_one(*one, beams, max_tokens) for one in some],
        )

    @torch.inference_mode()
    def _beam_search_one(
        self, person: str, prompt: Sequence[int], beams: int, max_tokens: int
    ) -> list[str] | None:
        """Return one person's answers, None if numbers are not finite."""
        checks = _FiniteCheck()
        ids = torch.tensor([list(prompt)], device=self.base.device)
        stops = self._stop_token_ids()
        with self._stack.activate([person] * beams, [prompt] * beams, len(prompt), left=True):
            output = self.base.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                use_cache=self.base.ways.cached,
                max_new_tokens=max_tokens,
                do_sample=False,
                num_beams=beams,
                num_return_sequences=beams,
                length_penalty=0.0,  # the sum, not the mean over tokens
                early_stopping=False,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=stops,
                pad_token_id=self.base.tokenizer.eos_token_id,
                logits_processor=[checks, _ForceEosAtLimit(stops, len(prompt) + max_tokens)],
            )
        if not checks.were_all_finite:
            return None
        # Keep sequences that ended.
        complete = [row for row in output[:, len(prompt) :].tolist() if set(stops) & set(row)]
        decode = self.base.tokenizer.decode
        return [str(decode(row, skip_special_tokens=True)).strip() for row in complete]

    def _stop_token_ids(self) -> list[int]:
        """All tokens that end an answer, from the tokenizer and from the model's generation
        config."""
        # The config may hold one id, a list, or nothing.
        stops = self.base.model.generation_config.eos_token_id
        listed = stops if isinstance(stops, list) else [stops]
        own = self.base.tokenizer.eos_token_id
        return sorted({s for s in [*listed, own] if isinstance(s, int)})


class _FiniteCheck(LogitsProcessor):
    """Notes in each step which rows have finite scores, without waiting for the device.

    ``mend``: set the scores of other rows to 0. Sampling would end in an error for all rows.
    """

    def __init__(self, *, mend: bool = False) -> None:
        self.mends = mend
        self._finite_by_step: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores [B, V]."""
        # The maximum is NaN if any score is.
        finite_B = scores.amax(dim=-1).isfinite()
        self._finite_by_step.append(finite_B)
        return scores.where(finite_B[:, None], 0) if self.mends else scores

    @property
    def were_all_finite(self) -> bool:
        """Whether all rows were finite in all steps."""
        return bool(torch.stack(self._finite_by_step).all())

    def find_finite(self, answers: Tensor, stops: Sequence[int]) -> list[bool]:
        """Return whether each answer [B, T] was made of finite scores, up to its end."""
        finite_BT = torch.stack(self._finite_by_step, dim=1)
        ends_BT = torch.isin(answers, torch.tensor(stops, device=answers.device))
        # Steps after the first end token only fill the row up.
        after_BT = ends_BT.cumsum(dim=1) - ends_BT.long() > 0
        return (finite_BT | after_BT).all(dim=1).tolist()


class _ForceEosAtLimit(LogitsProcessor):
    """Allows only end tokens at the last position, with their own likelihood. Otherwise truncated
    answers would push complete ones out of the beams."""

    def __init__(self, stops: Sequence[int], length: int) -> None:
        self.stop_token_ids, self.max_length = list(stops), length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores [B, V] for the token after ``input_ids`` [B, T]."""
        if input_ids.shape[1] + 1 < self.max_length:
            return scores
        ends = torch.full_like(scores, -torch.inf)
        ends[:, self.stop_token_ids] = scores[:, self.stop_token_ids]
        return ends


def pick_median_choice(probabilities: Sequence[float]) -> int:
    """Return the index of the median of a distribution over ordered choices; it minimizes the
    expected absolute error."""
    total = 0.0
    for index, probability in enumerate(probabilities):
        total += probability
        if total >= 0.5:
            return index
    return len(probabilities) - 1

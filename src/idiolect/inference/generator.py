"""Runs the base with many people's adapters in one batch: likelihoods, restricted choice, free
text.

The rows of one forward may belong to different people. Row order and the other rows of a batch
change results by rounding only. Depends on adapters and tokens, not on tasks or histories.

Shapes: ``B`` rows of a batch, ``T`` tokens, ``N`` requests, ``C`` choices, ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor

from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.stacks.base import slots_of
from idiolect.inference.nll import compute_target_logits, compute_target_nll
from idiolect.models.base import Base
from idiolect.prompts.batch import Batch, batches_within_token_budget, collate
from idiolect.prompts.render import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLikelihood:
    """An answer's negative log likelihood in nats, summed over its tokens, and the number of
    tokens."""

    nll: float
    tokens: int


class Generator:
    """A base with some people's adapters; people without an adapter get the bare base."""

    def __init__(
        self,
        base: Base,
        adapters: Mapping[str, Adapter] | None = None,
        *,
        forward_tokens: int = 4096,
    ) -> None:
        self.base = base
        self.forward_tokens = forward_tokens
        self._slots = {person: slot for slot, person in enumerate(adapters or {})}
        self._stack = stack_adapters(base, list(adapters.values())) if adapters else None

    def _activate_adapters(
        self,
        people: Sequence[str],
        prompts: Sequence[Sequence[int]],
        width: int,
        *,
        left: bool = False,
    ) -> AbstractContextManager[None]:
        """Activate the people's adapters for a forward of ``width`` tokens per row, padded on one
        side."""
        if self._stack is None:
            return nullcontext()
        return self._stack.activate(
            slots_of(people, self._slots, self.base.device),
            active=self._stack.token_mask(prompts, width, left=left),
        )

    def _activate_for_batch(
        self, people: Sequence[str], examples: Sequence[Example], batch: Batch
    ) -> AbstractContextManager[None]:
        prompts = [e.ids[: e.answer_start] for e in examples]
        # The last token predicts nothing, so the forward leaves it out.
        return self._activate_adapters(people, prompts, batch.ids.shape[1] - 1)

    @torch.inference_mode()
    def compute_likelihoods(
        self, requests: Sequence[tuple[str, Example]]
    ) -> list[AnswerLikelihood]:
        """Return the likelihood of the target tokens of each (person, example), in the order
        given."""
        total = [0.0] * len(requests)
        for group in batches_within_token_budget(
            [len(e.ids) for _, e in requests], self.forward_tokens
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
            AnswerLikelihood(nll=nll, tokens=e.num_targets)
            for nll, (_, e) in zip(total, requests, strict=True)
        ]

    @torch.inference_mode()
    def score_choices(
        self, requests: Sequence[tuple[str, tuple[int, ...]]], answers: Sequence[Sequence[int]]
    ) -> list[tuple[float, ...]]:
        """Return, for each (person, prompt), a probability for each answer (restricted-choice
        likelihood).

        ``answers``: the token ids of each choice. If the choices are different single tokens, one
        forward of the prompt gives all of them. Otherwise each choice is scored as a continuation.
        """
        # Different single tokens: their logits after the prompt are enough.
        if all(len(a) == 1 for a in answers) and len({a[0] for a in answers}) == len(answers):
            scores = self._score_first_tokens(requests, [a[0] for a in answers])
        else:
            rows = [
                (person, Example((*prompt, *answer), len(prompt)))
                for person, prompt in requests
                for answer in answers
            ]
            found = self.compute_likelihoods(rows)
            scores = torch.tensor([-one.nll for one in found]).view(-1, len(answers))
        # Normalize over the choices only.
        return [tuple(row) for row in torch.softmax(scores.double(), dim=-1).tolist()]

    def _score_first_tokens(
        self, requests: Sequence[tuple[str, tuple[int, ...]]], tokens: Sequence[int]
    ) -> Tensor:
        """Return the logits [N, C] of these tokens at the position after each prompt."""
        out_NC = torch.empty(len(requests), len(tokens))
        for group in batches_within_token_budget(
            [len(ids) for _, ids in requests], self.forward_tokens
        ):
            chosen = [requests[i] for i in group]
            # Any target token will do: only the logits that predict it are used.
            prompts = [Example((*ids, tokens[0]), len(ids)) for _, ids in chosen]
            batch = collate(prompts, pad=self.base.pad_token_id, device=self.base.device)
            with self._activate_for_batch([person for person, _ in chosen], prompts, batch):
                logits = compute_target_logits(self.base.model, batch).float().cpu()
            out_NC[list(group)] = logits[:, list(tokens)]
        return out_NC

    @torch.inference_mode()
    def generate_greedy(
        self, requests: Sequence[tuple[str, tuple[int, ...]]], *, max_tokens: int, batch: int = 32
    ) -> list[str]:
        """Return greedy answers to (person, prompt) pairs in order, of at most ``max_tokens``
        tokens each."""
        return self._generate_all(requests, max_tokens, batch, samples=False)

    @torch.inference_mode()
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
            return self._generate_all(requests, max_tokens, batch, samples=True)

    def _generate_all(
        self,
        requests: Sequence[tuple[str, tuple[int, ...]]],
        max_tokens: int,
        batch: int,
        *,
        samples: bool,
    ) -> list[str]:
        out = [""] * len(requests)
        # Similar lengths share a batch, so there is little padding.
        order = sorted(range(len(requests)), key=lambda i: (-len(requests[i][1]), i))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
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
    ) -> list[str]:
        """Generate one batch with transformers' ``generate``, padded on the left."""
        longest = max(len(ids) for _, ids in requests)
        ids_BT = torch.full((len(requests), longest), self.base.pad_token_id, dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        for row, (_, prompt) in enumerate(requests):
            ids_BT[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask_BT[row, longest - len(prompt) :] = 1
        people, prompts = [p for p, _ in requests], [ids for _, ids in requests]
        with self._activate_adapters(people, prompts, longest, left=True):
            output = self.base.model.generate(
                input_ids=ids_BT.to(self.base.device),
                attention_mask=mask_BT.to(self.base.device),
                max_new_tokens=max_tokens,
                do_sample=samples,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=0 if samples else None,  # the whole distribution
                eos_token_id=self._stop_token_ids(),
                pad_token_id=self.base.tokenizer.eos_token_id,
            )
        answers = output[:, longest:]  # without the prompts
        return [
            str(self.base.tokenizer.decode(row, skip_special_tokens=True)).strip()
            for row in answers
        ]

    @torch.inference_mode()
    def beam_search(
        self, requests: Sequence[tuple[str, tuple[int, ...]]], *, beams: int, max_tokens: int
    ) -> list[list[str]]:
        """Return the most likely complete answers to each (person, prompt), best first, at most
        ``beams``.

        Beam search over sums of log likelihoods. An answer that has not ended after ``max_tokens``
        tokens is dropped. Different tokens may give the same text, so answers may repeat.
        """
        return [
            self._beam_search_one(person, prompt, beams, max_tokens) for person, prompt in requests
        ]

    def _beam_search_one(
        self, person: str, prompt: Sequence[int], beams: int, max_tokens: int
    ) -> list[str]:
        ids = torch.tensor([list(prompt)], device=self.base.device)
        stops = self._stop_token_ids()
        with self._activate_adapters([person] * beams, [prompt] * beams, len(prompt), left=True):
            output = self.base.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
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
                logits_processor=[_ForceEosAtLimit(stops, len(prompt) + max_tokens)],
            )
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

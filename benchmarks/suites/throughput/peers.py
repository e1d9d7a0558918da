"""Peers A and B: PEFT and transformers' ``Trainer``, one person after another.

Peer A is the loop of the OPPU release without its faults: the base is loaded and wrapped once, each
person starts from a new adapter with only their own items, and only answers are trained on. What
makes it slow remains: ``prepare_model_for_kbit_training`` holds the base in fp32 (so autocast
converts each weight at each use), activations are recomputed, rows are padded to multiples of 8,
and the head runs on every position. Dropout is off, as in all methods.

Peer B is a careful current loop: the base in bf16 and adapters in fp32 under autocast, no
recomputation, minimal padding, no evaluation, logging or saving, the fused optimizer, and the
attention that is faster on the device.

Both use our initial adapters, schedule and clipping, so that their losses can be compared.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import peft
import torch
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainingArguments

from idiolect.adapters.lora import LoraConfig, init_lora
from idiolect.inference.nll import compute_target_nll
from idiolect.models.base import Base
from idiolect.prompts.batch import batches_within_token_budget, collate
from idiolect.prompts.render import Example
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig, compute_learning_rate
from suites.throughput.work import TrainingWork

IGNORE_INDEX = -100
HELD_OUT_TOKENS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStyle:
    """The differences between the two loops."""

    fp32_base: bool
    recompute: bool
    pad_to: int
    """Rows are padded to the longest one, rounded up to a multiple of this number."""
    attention: str | None
    """Attention of transformers; ``None`` for the faster one on the device."""
    fused_optimizer: bool


PEER_STYLES: Mapping[str, PeerStyle] = {
    "peer-a": PeerStyle(
        fp32_base=True, recompute=True, pad_to=8, attention="sdpa", fused_optimizer=False
    ),
    "peer-b": PeerStyle(
        fp32_base=False, recompute=False, pad_to=1, attention=None, fused_optimizer=True
    ),
}


class TrainerPeer:
    """One of the two loops on one base, which it changes permanently."""

    def __init__(
        self,
        base: Base,
        people: Sequence[str],
        lora: LoraConfig,
        train: TrainConfig,
        style: PeerStyle,
    ) -> None:
        self.base, self.train_config, self.style = base, train, style
        lora = lora.resolve_for(base.model)
        self.initial_pairs = {
            p: init_lora(base, lora, seed=train.seed, person=p).pairs for p in people
        }
        # The style decides dtype, attention and recomputation of the base.
        self.autocast = base.dtype == torch.bfloat16
        model = base.model
        faster = "eager" if base.device.type == "cpu" else "sdpa"
        model.set_attn_implementation(style.attention or faster)
        if style.fp32_base:
            model.float()
        if style.recompute:
            model.activation_checkpointing_enable()
        model.config.use_cache = False
        # One adapter is reused for all people; its weights are reset for each.
        self.model: Any = peft.get_peft_model(
            model,
            peft.LoraConfig(
                r=lora.rank,
                lora_alpha=lora.alpha,  # pyright: ignore[reportArgumentType]  a float works
                lora_dropout=lora.dropout,
                target_modules=list(lora.targets),
                bias="none",
                task_type="CAUSAL_LM",
            ),
        )
        self.trained_weights: dict[str, dict[str, Tensor]] = {}

    def train_all(self, work: TrainingWork) -> float:
        """Train all people, one after another; return the seconds."""
        self.trained_weights = {}
        started = time.perf_counter()
        for job in work.jobs:
            self._load_weights(self._get_initial_weights(job.person))
            self._fit_person(job)
            self.trained_weights[job.person] = {
                name: p.detach().cpu().clone() for name, p in self._get_weights().items()
            }
        return time.perf_counter() - started

    @torch.no_grad()
    def compute_losses(self, work: TrainingWork) -> dict[str, float]:
        """Return each person's mean loss per held-out target token in nats, after ``train_all``."""
        self.model.eval()
        out: dict[str, float] = {}
        for person, examples in work.held_out.items():
            self._load_weights(self.trained_weights[person])
            total, count = 0.0, 0
            for parcel in batches_within_token_budget(
                [len(e.ids) for e in examples], HELD_OUT_TOKENS
            ):
                chosen = [examples[i] for i in parcel]
                batch = collate(chosen, pad=self.base.pad_token_id, device=self.base.device)
                with torch.autocast(self.base.device.type, torch.bfloat16, enabled=self.autocast):
                    nll = compute_target_nll(self.model.get_base_model(), batch)
                total, count = total + float(nll.sum()), count + nll.numel()
            out[person] = total / count
        return out

    def _get_weights(self) -> dict[str, Tensor]:
        return {n: p for n, p in self.model.named_parameters() if p.requires_grad}

    def _get_initial_weights(self, person: str) -> dict[str, Tensor]:
        """Return the person's initial adapter under PEFT's parameter names."""
        return {
            f"base_model.model.{path}.lora_{half}.default.weight": tensor
            for path, pair in self.initial_pairs[person].items()
            for half, tensor in zip("AB", pair, strict=True)
        }

    @torch.no_grad()
    def _load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        weights = self._get_weights()
        assert weights.keys() == tensors.keys()
        for name, weight in weights.items():
            weight.copy_(tensors[name])
            weight.grad = None

    def _fit_person(self, job: TrainingJob) -> None:
        config = self.train_config
        # The optimizer and schedule of our engine, so that losses can be compared.
        steps = -(-len(job.examples) // config.batch) * config.epochs
        optimizer = torch.optim.AdamW(
            self._get_weights().values(),
            lr=config.rate,
            betas=(config.beta1, config.beta2),
            eps=config.epsilon,
            weight_decay=config.weight_decay,
            fused=self.style.fused_optimizer,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: compute_learning_rate(min(step, steps - 1), steps, config) / config.rate,
        )
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                model=self.model,
                args=self._make_arguments(folder),
                train_dataset=[_to_features(e) for e in job.examples],  # pyright: ignore
                data_collator=make_collator(self.base.pad_token_id, self.style.pad_to),
                optimizers=(optimizer, schedule),
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()

    def _make_arguments(self, folder: str) -> TrainingArguments:
        config = self.train_config
        on_cpu = self.base.device.type == "cpu"
        return TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=config.batch,
            num_train_epochs=config.epochs,
            max_grad_norm=config.clip,
            seed=config.seed,
            bf16=self.autocast,
            use_cpu=on_cpu,
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,
            dataloader_pin_memory=not on_cpu,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )


def _to_features(example: Example) -> dict[str, list[int]]:
    start, ids = example.answer_start, list(example.ids)
    return {"input_ids": ids, "labels": [IGNORE_INDEX] * start + ids[start:]}


def make_collator(
    pad: int, multiple: int
) -> Callable[[Sequence[Mapping[str, Any]]], dict[str, Tensor]]:
    """Return a collator that pads rows on the right to a multiple, masked and without labels."""

    def collate_rows(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        width = -(-longest // multiple) * multiple
        gaps = [width - len(row["input_ids"]) for row in rows]
        both = list(zip(rows, gaps, strict=True))
        return {
            "input_ids": torch.tensor([row["input_ids"] + [pad] * gap for row, gap in both]),
            "labels": torch.tensor([row["labels"] + [IGNORE_INDEX] * gap for row, gap in both]),
            "attention_mask": torch.tensor([[1] * (width - gap) + [0] * gap for gap in gaps]),
        }

    return collate_rows

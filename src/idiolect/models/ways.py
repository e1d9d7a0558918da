"""Which fast ways of running a base are right for it.

The plain way is the forward and backward of ``transformers`` under its default attention, one row
of one person at a time. All other ways are faster, and are used only where they give the same
numbers on this base. ``models/proof/`` finds out; training and inference ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The verdict on each fast way: whether this base gives the same numbers with it."""

    attention: bool = True
    """This project's attention function in place of the default one (``models/attention.py``)."""
    batched: bool = True
    """Rows of several people, padded on the right, in one forward."""
    packed: bool = True
    """Rows one after another in one row, without padding (``forward/varlen.py``)."""
    prefix: bool = True
    """Tokens that continue from keys and values of earlier ones: first words that prompts share,
    and adapters on answers only (``forward/partial.py``)."""
    layers: bool = True
    """Starting at a higher layer, from the activations below it (``forward/partial.py``)."""
    tree: bool = True
    """Trees of rows that begin alike (``forward/prefix_tree.py``)."""
    prepacked: bool = True
    """Weight matrices packed for the CPU (``cpu/prepacked_linear.py``)."""
    cached: bool = True
    """Generation with transformers' cache of earlier tokens."""
    left_padded: bool = True
    """Generation for several prompts, padded on the left, in one batch."""
    head: bool = True
    """Logits as the output head's product alone, with the known soft cap (``logits.py``)."""
    flat_modules: frozenset[str] = frozenset()
    """Paths of linear modules whose input is not [rows, tokens, width] in a padded batch. Rows of
    several people cannot be told apart there, so adapters on them run one person at a time."""
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])
    """For each way that is off, what differed, in words."""


WAY_COSTS: Mapping[str, str] = {
    "attention": "training on CPUs runs the default attention, whose backward is slower",
    "batched": "people are trained one at a time",
    "packed": "on CUDA, rows are padded instead of packed",
    "prefix": "first words that prompts share, and prompts before adapters on answers only, run "
    "again for each row",
    "layers": "adapters in the top layers only run all layers in every epoch",
    "tree": "answers and pieces that begin alike run one by one",
    "prepacked": "matrix products on CPUs are slower, those of few tokens most",
    "cached": "generation runs the whole text again for each token",
    "left_padded": "answers are generated for one prompt at a time",
    "head": "the model's own code makes the logits, with a little more work for each token",
}
"""For each way, what a base costs on which it is off."""

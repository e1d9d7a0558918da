"""What negating an adapter did, measured."""

from __future__ import annotations

from dataclasses import dataclass

from idiolect.unlearning.run import Perplexities


@dataclass(frozen=True, kw_only=True)
class NegationResult:
    """What negation did, measured on the adapter as it is stored."""

    pairs: int
    """Number of pairs to forget."""
    retained: int
    """Number of the person's items to retain."""
    scale: float
    before: Perplexities
    after: Perplexities
    without: float
    """Perplexity of the forgotten answers without any adapter: the level at which nothing is
    known."""

    @property
    def summary_text(self) -> str:
        """A sentence for receipts."""
        old, new = self.before, self.after
        rest = ", so some are still known" if new.forget_perplexity < self.without else ""
        return (
            f"negated at scale {self.scale:.3g}: the forgotten answers have perplexity "
            f"{old.forget_perplexity:.4g} -> {new.forget_perplexity:.4g} (the base alone "
            f"{self.without:.4g}{rest}), the retained items {old.retain_perplexity:.4g} -> "
            f"{new.retain_perplexity:.4g}"
        )

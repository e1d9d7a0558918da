"""Numbers in, numbers out: what an answer is worth, and whether a difference is real."""

from idiolect.measure.auc import Separation, separation
from idiolect.measure.metrics import METRICS, Direction, Metric, Outcome, metric
from idiolect.measure.significance import Paired, holm, mean_interval, paired, share_interval

__all__ = [
    "METRICS",
    "Direction",
    "Metric",
    "Outcome",
    "Paired",
    "Separation",
    "holm",
    "mean_interval",
    "metric",
    "paired",
    "separation",
    "share_interval",
]

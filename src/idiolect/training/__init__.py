"""Training: one person in obvious code, many people at once, checkpoints."""

from idiolect.training.batched import train_many
from idiolect.training.jobs import Job, Trained
from idiolect.training.layout import EngineConfig
from idiolect.training.schedule import TrainConfig
from idiolect.training.single import train_one

__all__ = ["EngineConfig", "Job", "TrainConfig", "Trained", "train_many", "train_one"]

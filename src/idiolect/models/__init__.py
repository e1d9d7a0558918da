"""Base models, the sentence encoder, and prompts as tokens. Torch starts on this floor."""

from idiolect.models.base import Base, load_base
from idiolect.models.device import DtypeName
from idiolect.models.encoder import MiniLM
from idiolect.models.frame import invocation_of, invoked_at
from idiolect.models.prompting import Example, PromptConfig, Prompter
from idiolect.models.weights import rewrite_base, save_base_manifest, weights_identity

__all__ = [
    "Base",
    "DtypeName",
    "Example",
    "MiniLM",
    "PromptConfig",
    "Prompter",
    "invocation_of",
    "invoked_at",
    "load_base",
    "rewrite_base",
    "save_base_manifest",
    "weights_identity",
]

"""Stores of recipes as holders of personal data: whose recipe it is stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest
from idiolect.privacy.scan import LabeledTexts


class RecipeErasure:
    """Who leaves goes with their recipe; everybody else's stays as it is."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Whether they have one."""
        if not leaving.is_whole_person or not (folder / RecipeStore.HEADER_FILE).is_file():
            return ""
        store = RecipeStore.open(folder)
        theirs = leaving.is_same_person(store.task) and store.mentions_person(leaving.person)
        return "their recipe" if theirs else ""

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Take it out."""
        if not self.find(folder, leaving):
            return []
        store = RecipeStore.open(folder)
        with store.lock_for_writing():
            store.compact({leaving.person})
        return [
            ErasureEffect(what="recipe", where=folder, outcome="removed", person=leaving.person)
        ]

    def scan(self, path: Path) -> LabeledTexts | None:
        """Its files are safetensors and JSON, which everybody reads."""
        return None

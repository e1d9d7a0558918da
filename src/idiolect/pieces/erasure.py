"""Erases people from stores of recipes, which hold personal data: each recipe is keyed by
person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest
from idiolect.privacy.search.file_search import LabeledTexts


class RecipeErasure:
    """Removes a person's recipe from a store; the recipes of all other people stay unchanged."""

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Return a description of what the folder holds of the person; empty if there is
        nothing."""
        if not leaving.is_whole_person or not (folder / RecipeStore.HEADER_FILE).is_file():
            return ""
        store = RecipeStore.open(folder)
        theirs = leaving.is_same_person(store.task) and store.mentions_person(leaving.person)
        return "their recipe" if theirs else ""

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        if not self.find(folder, leaving):
            return []
        return [
            ErasureEffect(what="recipe", where=folder, outcome="removed", person=leaving.person)
        ]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Remove the person's recipe and return what was done."""
        effects = self.preview(folder, leaving)
        if not effects:
            return []
        store = RecipeStore.open(folder)
        with store.lock_for_writing():
            # Rewrites the affected shards without this person.
            store.compact({leaving.person})
        return effects

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return None: all files are safetensors and JSON, which the generic scan reads."""
        return None

"""Stores of recipes as holders of personal data: whose recipe it is stands in them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.erasure import Effect, Leaving
from idiolect.privacy.scan import Words


class Recipes:
    """Who leaves goes with their recipe; everybody else's stays as it is."""

    def find(self, folder: Path, leaving: Leaving) -> str:
        """Whether they have one."""
        if not leaving.whole or not (folder / RecipeStore.HEAD).is_file():
            return ""
        store = RecipeStore.open(folder)
        theirs = leaving.is_theirs(store.task) and store.mentions(leaving.person)
        return "their recipe" if theirs else ""

    def erase(self, folder: Path, leaving: Leaving) -> Sequence[Effect]:
        """Take it out."""
        if not self.find(folder, leaving):
            return []
        store = RecipeStore.open(folder)
        with store.writing():
            store.compact({leaving.person})
        return [Effect(what="recipe", where=folder, outcome="removed", person=leaving.person)]

    def scan(self, path: Path) -> Words | None:
        """Its files are safetensors and JSON, which everybody reads."""
        return None

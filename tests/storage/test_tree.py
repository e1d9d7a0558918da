"""Walking through folders with links, and deleting in them, never leads astray."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from idiolect.errors import IntegrityError
from idiolect.privacy.erasure import delete_files
from idiolect.storage.files import hold_lock, stage_folder
from idiolect.storage.tree import (
    describe_special,
    find_outside_targets,
    is_walked,
    require_no_outside_links,
    unlink_inside,
    walk_tree,
)

pytestmark = pytest.mark.finding("symbolic-links")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "kept.txt").write_text("kept")
    return tmp_path / "here"


def walk_names(roots: list[Path], **options: bool) -> tuple[list[str], list[str]]:
    skipped: list[str] = []
    walk = walk_tree(
        roots, hidden=options.get("hidden", True), skip=lambda p, _: skipped.append(p.name)
    )
    return [folder.name for _, folder, _ in walk], skipped


def test_walk_tree_follows_each_link_once(here: Path) -> None:
    for name in ("one", "two"):
        (here / name).symlink_to(here.parent / "other")
    (here / "a").mkdir()
    (here / "a" / "circle").symlink_to(here)
    (here / "a" / "loop").symlink_to("loop")
    (here.parent / "other" / "back").symlink_to(here / "a")
    assert walk_names([here]) == (["here", "a", "one"], [])
    assert walk_names([here / "a", here]) == (["a", "here", "one"], [])


def test_walk_tree_does_not_follow_links_to_everything(here: Path) -> None:
    for name, target in (("parent", here.parent), ("top", Path("/")), ("proc", Path("/proc/self"))):
        (here / name).symlink_to(target)
    assert walk_names([here]) == (["here"], ["top", "proc", "parent"])
    assert not is_walked(here.parent, [here]) and is_walked(here.parent / "other", [here])


def test_walk_tree_reports_folders_that_cannot_be_read(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "closed").mkdir()
    scandir = os.scandir

    def refuse(folder: Path) -> object:
        if folder.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr("os.scandir", refuse)
    assert walk_names([here]) == (["here"], ["closed"])


def test_walk_tree_leaves_out_hidden_folders(here: Path) -> None:
    (here / ".git").mkdir()
    assert walk_names([here], hidden=False) == (["here"], [])
    assert walk_names([here]) == (["here", ".git"], [])


def test_walk_tree_goes_deeper_than_the_stack(here: Path) -> None:
    place = here
    for _ in range(300):
        place = place / "x"
    place.mkdir(parents=True)
    assert len(walk_names([here])[0]) == 301


def test_find_outside_targets_lists_links_that_lead_out(here: Path) -> None:
    (here / "in.txt").write_text("")
    (here / "good").symlink_to("in.txt")
    (here / "far").symlink_to(here.parent / "other" / "kept.txt")
    (here / "nothing").symlink_to(here.parent / "missing")
    assert find_outside_targets([here]) == (
        here.parent / "missing",
        here.parent / "other" / "kept.txt",
    )
    with pytest.raises(IntegrityError, match=r"a link in this folder leads to .*missing"):
        require_no_outside_links(here)


def test_unlink_inside_deletes_the_link_and_not_its_target(here: Path) -> None:
    kept = here.parent / "other" / "kept.txt"
    (here / "file").symlink_to(kept)
    (here / "folder").symlink_to(kept.parent)
    unlink_inside(here, "file")
    unlink_inside(here, "folder/kept.txt")
    unlink_inside(here, "missing")
    assert kept.read_text() == "kept" and not any(here.iterdir())
    for name in ("../other/kept.txt", str(kept)):
        with pytest.raises(IntegrityError, match="outside of this folder"):
            unlink_inside(here, name)
    assert kept.exists()


def test_delete_files_deletes_a_linked_folder_and_its_link(here: Path) -> None:
    (here.parent / "other" / "sub").symlink_to(here.parent / "third")
    (here.parent / "third").mkdir()
    (here.parent / "third" / "kept.txt").write_text("kept")
    link = here / "link"
    link.symlink_to(here.parent / "other")
    delete_files(link, ["sub/kept.txt", "kept.txt"])
    assert not link.is_symlink() and not (here.parent / "other").exists()
    assert (here.parent / "third" / "kept.txt").read_text() == "kept"


def test_hold_lock_refuses_a_folder_with_a_link_that_leads_out(here: Path) -> None:
    (here / "log.jsonl").symlink_to(here.parent / "other" / "kept.txt")
    with pytest.raises(IntegrityError, match="leads to"), hold_lock(here, wait=False, what="it"):
        raise AssertionError
    # The note about the holder is never written through a link.
    (here / "log.jsonl").unlink()
    (here.parent / ".here.held").symlink_to(here.parent / "other" / "kept.txt")
    with hold_lock(here, wait=False, what="it"):
        assert (here.parent / "other" / "kept.txt").read_text() == "kept"


def test_hold_lock_is_one_for_all_links_to_a_folder(here: Path) -> None:
    (here.parent / "link").symlink_to(here)
    with hold_lock(here.parent / "link", wait=False, what="it"):
        assert (here.parent / ".here.lock").exists()
    assert not (here.parent / ".link.lock").exists()


def test_stage_folder_replaces_what_a_link_leads_to(here: Path) -> None:
    link = here / "link"
    link.symlink_to(here.parent / "other")
    with stage_folder(link, replace=True) as stage:
        (stage / "new.txt").write_text("new")
    assert link.is_symlink()
    assert [path.name for path in (here.parent / "other").iterdir()] == ["new.txt"]


def test_describe_special_names_what_cannot_be_opened(here: Path) -> None:
    os.mkfifo(here / "pipe")
    (here / "link").symlink_to("missing")
    (here / "file").write_text("")
    assert describe_special(here / "pipe") == "a named pipe"
    assert describe_special(here / "link") == "a link to nothing"
    assert describe_special(here / "file") == "" and "device" in describe_special(Path("/dev/null"))

"""Deleting stands in one place: whoever reads this list has seen all code that can take something away."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from launchdeck.files.removal import is_child_name, remove_file, remove_socket, remove_tree

PACKAGE = Path(__file__).parents[2] / "app" / "launchdeck"
DELETES = {"rmtree", "unlink", "rmdir", "removedirs"}
MAY_DELETE = {"files/removal.py"}


def deleting_calls(source: str) -> Iterator[int]:
    """The lines on which something of the file system is deleted, or a function that does it is spoken of."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            of_os = isinstance(node.value, ast.Name) and node.value.id == "os"
            if node.attr in DELETES or (node.attr == "remove" and of_os):
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module in {"os", "shutil"}:
            if any(name.name in DELETES | {"remove", "*"} for name in node.names):
                yield node.lineno
        elif isinstance(node, ast.Constant) and node.value in DELETES:
            yield node.lineno


def test_nothing_is_deleted_elsewhere() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(deleting_calls(path.read_text(encoding="utf-8")))
    }
    assert found == MAY_DELETE


@pytest.mark.parametrize(
    "source",
    [
        "import os\nos.remove('x')",
        "import os\nos.unlink('x')",
        "from os import remove",
        "from shutil import rmtree as gone",
        "import shutil\nf = shutil.rmtree",
        "path.unlink(missing_ok=True)",
        "folder.rmdir()",
        "getattr(os, 'unlink')('x')",
    ],
)
def test_the_test_sees_every_way_to_delete(source: str) -> None:
    assert list(deleting_calls(source))


def test_the_test_lets_lists_be() -> None:
    assert not list(deleting_calls("names = []\nnames.remove('x')\nsys.path.remove('y')"))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "/etc", "../a", "a/", "a\0"])
@pytest.mark.parametrize("remove", [remove_file, remove_socket, remove_tree])
def test_a_name_that_could_lead_elsewhere_is_refused(tmp_path: Path, name: str, remove) -> None:
    folder = tmp_path / "ours"
    (folder / "a" / "b").mkdir(parents=True)
    (tmp_path / "a").write_text("not ours")
    assert not is_child_name(name)
    with pytest.raises(ValueError, match="is no name"):
        remove(folder, name)
    assert (folder / "a" / "b").is_dir()
    assert (tmp_path / "a").exists()


def test_a_link_in_the_place_of_a_folder_stays_with_all_behind_it(tmp_path: Path) -> None:
    (tmp_path / "theirs" / "below").mkdir(parents=True)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "a").symlink_to(tmp_path / "theirs")
    with pytest.raises(NotADirectoryError):
        remove_tree(tmp_path / "ours", "a")
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    for remove in (remove_tree, remove_file):
        with pytest.raises(OSError, match="Not a directory"):
            remove(tmp_path / "link", "a")
    assert (tmp_path / "theirs" / "below").is_dir()


def test_a_tree_goes_without_what_its_links_lead_to(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").write_text("stays")
    tree = tmp_path / "ours" / "a"
    (tree / "deep" / "deeper").mkdir(parents=True)
    (tree / "deep" / "link").symlink_to(tmp_path / "theirs")
    (tree / "file-link").symlink_to(tmp_path / "theirs" / "file")
    assert remove_tree(tmp_path / "ours", "a")
    assert not tree.exists()
    assert (tmp_path / "theirs" / "file").read_text() == "stays"
    assert not remove_tree(tmp_path / "ours", "a")
    assert not remove_tree(tmp_path / "nowhere", "a")


def test_a_link_to_a_file_goes_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("stays")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert remove_file(tmp_path, "link")
    assert not remove_file(tmp_path, "link")
    assert (tmp_path / "file").exists()

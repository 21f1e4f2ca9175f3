from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import pytest

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.settings.paths import SOCKET_PATH_BYTES, Paths


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_all_folders_lie_below_the_one_that_is_named(tmp_path: Path):
    paths = Paths.resolve({"LAUNCHDECK_HOME": str(tmp_path)})
    assert [folder.parent for folder in astuple(paths)] == [tmp_path] * 5


def test_the_folders_are_made_for_the_user_alone(tmp_path: Path):
    paths = Paths.resolve({"LAUNCHDECK_HOME": str(tmp_path / "home")})
    paths.create()
    assert [mode(folder) for folder in astuple(paths)] == [0o700] * 5


def test_a_folder_that_others_could_read_is_closed_to_them(tmp_path: Path):
    paths = Paths.resolve({"LAUNCHDECK_HOME": str(tmp_path)})
    paths.state.mkdir(mode=0o755)
    paths.create()
    assert mode(paths.state) == 0o700


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = Paths.resolve({"LAUNCHDECK_HOME": str(tmp_path)})
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(LaunchdeckError, match="belongs to another user"):
        paths.create()


def long(tmp_path: Path) -> Paths:
    """Folders whose names have no room for a socket's beside them; the short place is gone again at the test's end."""
    return Paths.resolve({"LAUNCHDECK_HOME": str(tmp_path / ("f" * 60) / ("0" * 60))})


@pytest.fixture
def short_place(tmp_path: Path) -> Iterator[Path]:
    place = long(tmp_path).sockets
    yield place
    if place.is_symlink() or place.is_file():
        place.unlink()
    shutil.rmtree(place, ignore_errors=True)


def test_a_socket_always_has_room_for_its_name(tmp_path: Path):
    for count in range(1, 250):
        paths = Paths.resolve({"LAUNCHDECK_HOME": "/" + "é" * count})
        address = os.fsencode(paths.sockets / "01234567.sock")
        assert len(address) <= SOCKET_PATH_BYTES
        assert (paths.sockets == paths.runtime) is (len(os.fsencode(paths.runtime / "01234567.sock")) <= 107)


def test_the_short_place_is_private_and_its_own_for_every_home(tmp_path: Path, short_place: Path, caplog):
    paths = long(tmp_path)
    paths.create()
    assert mode(short_place) == 0o700
    assert str(short_place) in caplog.text
    assert long(tmp_path / "another").sockets != short_place
    assert long(tmp_path).sockets == short_place


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/"), lambda path: path.touch()], ids=["link", "file"])
def test_something_else_in_the_short_place_is_refused(tmp_path: Path, short_place: Path, make):
    make(short_place)
    with pytest.raises(LaunchdeckError, match=str(short_place)):
        long(tmp_path).create()
    assert Path("/").stat().st_mode & 0o777 != 0o700


def test_a_short_place_of_somebody_else_is_refused(tmp_path: Path, short_place: Path, monkeypatch: pytest.MonkeyPatch):
    paths = long(tmp_path)
    for folder in (*astuple(paths), short_place):
        folder.mkdir(parents=True, mode=0o700)
    theirs = os.stat_result((*short_place.lstat()[:4], os.geteuid() + 1, *short_place.lstat()[5:]))
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **kw: theirs if path == short_place else real(path, **kw))
    with pytest.raises(LaunchdeckError, match="belongs to another user"):
        paths.create()


def test_a_folder_that_cannot_be_made_private_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a read-only disk."""
    paths = Paths.resolve()
    paths.create()
    paths.state.chmod(0o755)

    def refused(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "chmod", refused)
    with pytest.raises(LaunchdeckError, match="can be read by others, and that cannot be changed: Read-only"):
        paths.create()

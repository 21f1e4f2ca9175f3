from __future__ import annotations

import os
from dataclasses import astuple
from pathlib import Path

import pytest

from launchdeck.domain.errors import LaunchdeckError
from launchdeck.settings.paths import Paths


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

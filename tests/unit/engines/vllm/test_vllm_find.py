"""Which vLLMs are found, and what they say of themselves. The installations are folders that look like one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.engines.vllm.find import find_vllm, parse_version

REGISTRY = """
_TEXT_GENERATION_MODELS = {
    "LlamaForCausalLM": ("llama", "LlamaForCausalLM"),
    "DeepseekV3ForCausalLM": (
        "deepseek_v2", "DeepseekV3ForCausalLM"),
}
"""


def environment(
    folder: Path, *, version: str = "0.33.0", cuda: str | None = "13.0", hip: str | None = None, script: bool = True
) -> Path:
    """A virtual environment whose Python is this one with other packages; importing vllm or torch would fail."""
    packages = folder / "packages"
    models = packages / "vllm" / "model_executor" / "models"
    models.mkdir(parents=True)
    (models / "registry.py").write_text(REGISTRY)
    (packages / "vllm" / "__init__.py").write_text("raise AssertionError('imported')")
    (packages / "torch").mkdir()
    (packages / "torch" / "__init__.py").write_text("raise AssertionError('imported')")
    (packages / "torch" / "version.py").write_text(f"cuda = {cuda!r}\nhip = {hip!r}\n")
    info = packages / f"vllm-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    programs = folder / "bin"
    programs.mkdir()
    python = program(programs / "python", f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" "$@"\n')
    if script:
        program(programs / "vllm", f"#!{python}\n")
    return folder


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def bare_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("VLLM_CONFIG_ROOT", "/nowhere")


def only(named: Path | str = "") -> EngineInfo:
    engines, problems = find_vllm(str(named))
    assert problems == []
    return engines[0]


def test_an_environment_is_asked_without_importing(tmp_path: Path) -> None:
    engine = only(environment(tmp_path / "venv"))
    assert engine.kind is EngineKind.VLLM
    assert engine.command == (str(tmp_path / "venv" / "bin" / "vllm"),)
    assert engine.version == "0.33.0"
    assert engine.gpu_types == {GpuType.NVIDIA}
    assert engine.architectures == {"LlamaForCausalLM", "DeepseekV3ForCausalLM"}


def test_a_program_or_a_python_will_do(tmp_path: Path) -> None:
    assert only(environment(tmp_path / "a") / "bin" / "vllm").version == "0.33.0"
    engine = only(environment(tmp_path / "b", script=False))
    assert engine.command == (str(tmp_path / "b" / "bin" / "python"), "-m", "vllm.entrypoints.cli.main")


@pytest.mark.parametrize(
    ("build", "gpu_type"),
    [
        ({"cuda": None, "hip": "7.0"}, GpuType.AMD),
        ({"cuda": None}, GpuType.CPU),
        ({"version": "0.32.0+cpu"}, GpuType.CPU),
    ],
)
def test_the_build_tells_what_it_runs_on(tmp_path: Path, build: dict[str, str | None], gpu_type: GpuType) -> None:
    assert only(environment(tmp_path / "venv", **build)).gpu_types == {gpu_type}


def test_the_one_on_path_is_found_and_one_environment_once(tmp_path: Path) -> None:
    environment(tmp_path / "venv")
    (tmp_path / "path").mkdir()
    program(tmp_path / "path" / "vllm", f"#!{tmp_path}/venv/bin/python\n")
    assert only().path == tmp_path / "path" / "vllm"
    engines, _ = find_vllm(str(tmp_path / "venv"))
    assert [engine.path for engine in engines] == [tmp_path / "venv" / "bin" / "vllm"]


def test_a_long_path_stands_in_the_second_line(tmp_path: Path) -> None:
    python = environment(tmp_path / "venv", script=False) / "bin" / "python"
    path = program(tmp_path / "vllm", f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n")
    assert only(path).architectures


def test_a_wrapper_is_asked_for_its_version(tmp_path: Path) -> None:
    path = program(tmp_path / "vllm", "#!/bin/sh\necho 'INFO something'\necho 0.33.1.dev2+rocm\n")
    engine = only(path)
    assert engine.version == "0.33.1.dev2+rocm"
    assert engine.gpu_types == {GpuType.NVIDIA, GpuType.AMD}
    assert engine.architectures == frozenset()


def test_what_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    for named, words in (
        (tmp_path / "nowhere", "where the settings say"),
        (environment(tmp_path / "old", version="0.9.2"), "too old"),
        (program(tmp_path / "vllm", "#!/bin/sh\necho broken >&2; exit 3\n"), "broken"),
    ):
        engines, problems = find_vllm(str(named))
        assert engines == []
        assert words in str(problems[0])
    assert find_vllm("") == ([], [])


@pytest.mark.parametrize(
    ("text", "numbers"), [("0.20.1+cpu", (0, 20, 1)), ("0.33.0rc1", (0, 33, 0)), ("dev", None), (None, None)]
)
def test_versions(text: str | None, numbers: tuple[int, ...] | None) -> None:
    assert parse_version(text) == numbers

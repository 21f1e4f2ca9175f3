"""Whatever a model's small files hold: nothing is raised, nothing hangs, and the model beside them is always listed."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fakes.gguf_models import llama
from fakes.mutations import broken
from fakes.safetensors_writer import llama_config, write_embedder, write_model, write_sharded
from fakes.samples import two_gpus
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.gpu import GpuType
from launchdeck.domain.plan import EngineInfo, EngineKind
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.planner import Planner
from launchdeck.models.describe import inspect
from launchdeck.models.library import Library
from launchdeck.models.stores import stores
from launchdeck.settings.schema import Settings

INPUTS = 120  # for each kind of file
LONGEST_S = 2.0
LAYERS = [
    {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{number * 64}", "size": 100}
    for kind, number in (("model", "0"), ("projector", "1"), ("params", "2"))
]
DEEPSEEK: dict[str, Any] = {"kv_lora_rank": 64, "qk_rope_head_dim": 16, "layer_types": ["full_attention"] * 4}
QUANTISED: dict[str, Any] = {
    "quantization_config": {"quant_method": "awq", "bits": 4, "modules_to_not_convert": ["lm_head"]},
    "sliding_window": 512, "use_sliding_window": True, "max_window_layers": 2, "text_config": {"num_hidden_layers": 3},
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A file that is written anew with every input, and what is asked of the model that it belongs to."""

    file: Path
    document: Any
    model: Path
    wrap: Callable[[bytes], bytes] = lambda data: data


def manifest(root: Path) -> Kind:
    file = root / "ollama/manifests/registry.ollama.ai/library/m/tag"
    file.parent.mkdir(parents=True)
    (root / "ollama/blobs").mkdir()
    blob = llama().write(root / "ollama/blobs" / f"sha256-{'0' * 64}")
    return Kind(file, {"schemaVersion": 2, "mediaType": "x", "config": LAYERS[0], "layers": LAYERS}, blob)


def config(root: Path, **changes: Any) -> Kind:
    folder = write_model(root / "m", llama_config(**changes))
    return Kind(folder / "config.json", llama_config(**changes), folder)


def index(root: Path) -> Kind:
    write_sharded(root / "m", 2)
    file = root / "m" / "model.safetensors.index.json"
    return Kind(file, json.loads(file.read_text()), root / "m")


def of_embedder(root: Path, name: str) -> Kind:
    folder = write_embedder(root / "m")
    return Kind(folder / name, json.loads((folder / name).read_text()), folder)


def header(root: Path) -> Kind:
    folder = write_model(root / "m")
    file = folder / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")

    def whole(text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + bytes(len(data))

    return Kind(file, json.loads(data[8 : 8 + length]), folder, whole)


KINDS: dict[str, Callable[[Path], Kind]] = {
    "manifest": manifest,
    "config": config,
    "config of latent attention": lambda root: config(root, **DEEPSEEK),
    "config with a window": lambda root: config(root, **QUANTISED),
    "index": index,
    "modules": lambda root: of_embedder(root, "modules.json"),
    "pooling": lambda root: of_embedder(root, "1_Pooling/config.json"),
    "sentences": lambda root: of_embedder(root, "sentence_bert_config.json"),
    "header": header,
}


def planner() -> Planner:
    settings = Settings()
    planner = Planner(lambda: settings)
    planner.inventory = two_gpus()
    vllm = EngineInfo(EngineKind.VLLM, ("vllm",), Path("vllm"), "0.11.0", frozenset({GpuType.NVIDIA, GpuType.CPU}))
    server = EngineInfo(EngineKind.LLAMA_SERVER, ("s",), Path("s"), "1", frozenset({GpuType.NVIDIA, GpuType.CPU}))
    planner.engines = (vllm, server)
    return planner


def snapshot(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*"))


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """What lies beside the folder of models is as it was."""
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "deep" / "file").write_text("sentinel")
    before = snapshot(tmp_path / "outside")
    yield tmp_path / "outside"
    assert snapshot(tmp_path / "outside") == before


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.usefixtures("outside")
def test_any_file(
    tmp_path: Path, name: str, record_property: Callable[[str, object], None], caplog: pytest.LogCaptureFixture
) -> None:
    """The same ones each time. An error in the log, which is what the last resort leaves, fails the test as well."""
    root = tmp_path / "models"
    (root / "z").mkdir(parents=True)
    llama().write(root / "z" / "good.gguf")
    kind = KINDS[name](root)
    random = Random(name)
    library, asked, longest_s, problems = Library(), planner(), 0.0, 0
    caplog.set_level(logging.ERROR, "launchdeck.models")  # or there are hundreds of warnings
    for number in range(INPUTS):
        data = kind.wrap(broken(kind.document, random))
        kind.file.write_bytes(data)
        begin_s = time.monotonic()
        models = library.look_into([root])
        assert "good" in {model.name for model in models}, data[:300]
        info = inspect(kind.model)
        json.dumps(str(info))
        problems += info.problem is not None
        plan(asked, kind.model)
        longest_s = max(longest_s, time.monotonic() - begin_s)
        assert longest_s < LONGEST_S, (number, data[:300])
    told = f"a model's {name}: {INPUTS} inputs, {problems} told as broken, the slowest {longest_s:.3f} s"
    record_property("fuzzed", told)


def plan(asked: Planner, path: Path) -> None:
    server_types = inspect(path).server_types
    request = ModelLoadRequest(path, server_types[0]) if server_types else ModelLoadRequest(path)
    with contextlib.suppress(LaunchdeckError):
        asked.plan(request, 8080)


def test_any_settings_of_lm_studio(
    tmp_path: Path, record_property: Callable[[str, object], None], caplog: pytest.LogCaptureFixture
) -> None:
    random = Random(5)
    (tmp_path / ".lmstudio").mkdir()
    caplog.set_level(logging.ERROR, "launchdeck.models")
    for _ in range(INPUTS):
        (tmp_path / ".lmstudio/settings.json").write_bytes(broken({"downloadsFolder": str(tmp_path)}, random))
        (tmp_path / ".lmstudio-home-pointer").write_bytes(broken(str(tmp_path / ".lmstudio"), random).strip(b'"'))
        assert tmp_path / ".cache/huggingface/hub" in set(stores({"HOME": str(tmp_path)}))
    record_property("fuzzed", f"LM Studio's settings: {INPUTS} inputs")

"""Other programs' stores read in place, projectors joined to their models, and what changes noticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from fakes.gguf_models import llama
from fakes.gguf_writer import Gguf, Tensor
from launchdeck.models.describe import inspect
from launchdeck.models.projectors import projector_of
from launchdeck.models.scan import Scanner, scan

PROJECTOR = Gguf({"general.architecture": "clip", "general.type": "mmproj"}, (Tensor("v", (4,)),))


def into_ollama(store: Path, name: str, model: Gguf, projector: Gguf | None = None) -> Path:
    """Put a model into the store as `ollama pull` does; gives its blob."""
    layers = []
    for kind, content in (("model", model), ("projector", projector)):
        if content is not None:
            digest = hashlib.sha256(f"{name} {kind}".encode()).hexdigest()
            (store / "blobs").mkdir(parents=True, exist_ok=True)
            content.write(store / "blobs" / f"sha256-{digest}")
            layers.append({"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{digest}"})
    manifest = store / "manifests" / Path(name)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return store / "blobs" / layers[0]["digest"].replace(":", "-")


def test_ollamas_models_have_their_names_and_their_blobs(tmp_path: Path) -> None:
    official = into_ollama(tmp_path, "registry.ollama.ai/library/qwen3/8b", llama(), PROJECTOR)
    into_ollama(tmp_path, "registry.ollama.ai/me/mine/latest", llama())
    into_ollama(tmp_path, "hf.co/them/theirs/Q4_K_M", llama())
    found = {model.name: model for model in scan([tmp_path])}
    assert sorted(found) == ["hf.co/them/theirs:Q4_K_M", "me/mine:latest", "qwen3:8b"]
    assert found["qwen3:8b"].path == official
    assert found["qwen3:8b"].projector is not None
    assert found["qwen3:8b"].projector.parent == tmp_path / "blobs"
    assert found["me/mine:latest"].projector is None


def test_a_blob_named_alone_has_its_name_too(tmp_path: Path) -> None:
    blob = into_ollama(tmp_path, "registry.ollama.ai/library/qwen3/8b", llama(), PROJECTOR)
    assert inspect(blob) == next(scan([tmp_path]))


def test_two_names_for_one_blob_are_one_model(tmp_path: Path) -> None:
    into_ollama(tmp_path, "registry.ollama.ai/library/qwen3/8b", llama())
    manifests = tmp_path / "manifests/registry.ollama.ai/library/qwen3"
    (manifests / "latest").write_bytes((manifests / "8b").read_bytes())
    assert [model.name for model in scan([tmp_path])] == ["qwen3:8b"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"layers": 3}', '{"layers": [{"mediaType": "x"}]}', "\xff", '{"layers": [1]}']
)
def test_a_broken_manifest_hides_no_other(tmp_path: Path, text: str) -> None:
    into_ollama(tmp_path, "registry.ollama.ai/library/qwen3/8b", llama())
    (tmp_path / "manifests/registry.ollama.ai/library/qwen3/bad").write_bytes(text.encode("latin-1"))
    assert [model.name for model in scan([tmp_path])] == ["qwen3:8b"]


def test_a_digest_that_leads_out_of_the_store_is_left_out(tmp_path: Path) -> None:
    into_ollama(tmp_path, "registry.ollama.ai/library/qwen3/8b", llama())
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../etc/passwd"}
    (tmp_path / "manifests/registry.ollama.ai/library/qwen3/evil").write_text(json.dumps({"layers": [layer]}))
    assert [model.name for model in scan([tmp_path])] == ["qwen3:8b"]


def test_a_blob_that_is_gone_is_told(tmp_path: Path) -> None:
    into_ollama(tmp_path, "registry.ollama.ai/library/qwen3/8b", llama()).unlink()
    (model,) = scan([tmp_path])
    assert model.name == "qwen3:8b"
    assert "There is no file" in str(model.problem)


def test_hugging_faces_cache_shows_what_two_revisions_share_once(tmp_path: Path) -> None:
    repository = tmp_path / "models--them--Tiny-GGUF"
    (repository / "blobs").mkdir(parents=True)
    blob = llama().write(repository / "blobs" / "0a1b")
    for revision in ("aaa", "bbb"):
        (repository / "snapshots" / revision).mkdir(parents=True)
        (repository / "snapshots" / revision / "tiny-q4.gguf").symlink_to(blob)
    assert [model.name for model in scan([tmp_path])] == ["tiny-q4"]


@pytest.mark.parametrize(
    ("model", "projectors", "expected"),
    [
        ("gemma-3-4b-it-Q4_K_M.gguf", ["mmproj-model-f16.gguf"], "mmproj-model-f16.gguf"),
        ("gemma-3-4b-it-Q4_K_M.gguf", ["mmproj-gemma-3-4b-it-F16.gguf"], "mmproj-gemma-3-4b-it-F16.gguf"),
        ("Qwen2.5-VL-7B-Q8_0.gguf", ["mmproj-gemma-3-4b-it-F16.gguf"], None),
        ("Qwen2-VL-7B-Q8_0.gguf", ["mmproj-F16.gguf", "Qwen2-VL-7B.mmproj-f16.gguf"], "Qwen2-VL-7B.mmproj-f16.gguf"),
        ("plain.gguf", [], None),
    ],
)  # fmt: skip
def test_which_projector_is_for_which_model(model: str, projectors: list[str], expected: str | None) -> None:
    assert projector_of(model, projectors) == expected


def test_a_projector_is_joined_to_its_model_and_is_none_itself(tmp_path: Path) -> None:
    path = llama().write(tmp_path / "gemma-3-4b-it-Q4_K_M.gguf")
    projector = PROJECTOR.write(tmp_path / "mmproj-model-f16.gguf")
    (model,) = scan([tmp_path])
    assert (model.path, model.projector) == (path, projector)
    assert inspect(path) == model


class TestChanges:
    def test_nothing_changes_by_itself(self, tmp_path: Path) -> None:
        llama().write(tmp_path / "m.gguf")
        (tmp_path / "broken.gguf").write_bytes(b"no model")
        scanner = Scanner()
        before = list(scanner.scan([tmp_path, tmp_path / "missing"]))
        assert not scanner.has_changed()
        assert list(scanner.scan([tmp_path])) == before

    def test_a_new_model_deep_below_is_noticed(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        scanner = Scanner()
        assert list(scanner.scan([tmp_path])) == []
        llama().write(tmp_path / "a" / "b" / "m.gguf")
        assert scanner.has_changed()
        assert [model.name for model in scanner.scan([tmp_path])] == ["m"]

    def test_a_model_that_goes_is_noticed(self, tmp_path: Path) -> None:
        path = llama().write(tmp_path / "m.gguf")
        scanner = Scanner()
        assert len(list(scanner.scan([tmp_path]))) == 1
        path.unlink()
        assert scanner.has_changed()
        assert list(scanner.scan([tmp_path])) == []

    def test_a_folder_that_was_missing_is_noticed(self, tmp_path: Path) -> None:
        scanner = Scanner()
        assert list(scanner.scan([tmp_path / "later"])) == []
        (tmp_path / "later").mkdir()
        assert scanner.has_changed()

    def test_a_copy_that_gets_complete_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "m.gguf"
        whole = llama().write(tmp_path / "whole").read_bytes()
        path.write_bytes(whole[:100])
        scanner = Scanner()
        (model,) = scanner.scan([tmp_path])
        assert model.problem is not None
        path.write_bytes(whole)
        assert scanner.has_changed()
        (model,) = scanner.scan([tmp_path])
        assert model.problem is None

    def test_a_new_model_of_ollamas_is_noticed(self, tmp_path: Path) -> None:
        into_ollama(tmp_path, "registry.ollama.ai/library/qwen3/8b", llama())
        scanner = Scanner()
        assert len(list(scanner.scan([tmp_path]))) == 1
        into_ollama(tmp_path, "registry.ollama.ai/library/qwen3/14b", llama())
        assert scanner.has_changed()

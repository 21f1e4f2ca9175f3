"""One bad entry costs itself alone: whatever lies beside a good model, the good one is listed, and soon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.gguf_models import llama
from fakes.safetensors_writer import llama_config, write_embedder, write_model
from launchdeck.domain.model import ModelInfo
from launchdeck.models import bounds
from launchdeck.models.describe import inspect
from launchdeck.models.scan import Scanner, scan

SOON_S = 20.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Bad ones are put here, beside a good one that comes before and one that comes after."""
    for name in ("a", "z"):
        (tmp_path / name).mkdir()
        llama().write(tmp_path / name / f"good-{name}.gguf")
    return tmp_path


def models_of(root: Path) -> dict[str, ModelInfo]:
    """What is found, in a thread: a scan that hangs fails this test, and no other."""
    found: list[ModelInfo] = []
    thread = threading.Thread(target=lambda: found.extend(scan([root])), daemon=True)
    thread.start()
    thread.join(SOON_S)
    assert not thread.is_alive(), "the scan hangs"
    models = {model.name: model for model in found}
    assert {"good-a", "good-z"} <= models.keys()
    return models


def store(root: Path) -> Path:
    """An Ollama store beside the good ones, with its usual folders."""
    (root / "ollama/blobs").mkdir(parents=True)
    library = root / "ollama/manifests/registry.ollama.ai/library/m"
    library.mkdir(parents=True)
    return library


# What is put in the place of a file, by the file's path. "A device" is one that never ends.
OTHER_THINGS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "circle": lambda path: path.symlink_to(path),
    "nothing": lambda path: path.symlink_to("/nowhere"),
}


@pytest.mark.parametrize("thing", OTHER_THINGS)
@pytest.mark.parametrize(
    "name",
    [
        "config.json", "model.safetensors", "model.safetensors.index.json", "modules.json",
        "sentence_bert_config.json", "1_Pooling/config.json",
    ],
)  # fmt: skip
def test_what_is_no_file_costs_its_model_alone(root: Path, name: str, thing: str) -> None:
    folder = write_embedder(root / "m")
    (folder / name).unlink(missing_ok=True)
    OTHER_THINGS[thing](folder / name)
    models_of(root)
    inspect(folder)  # a window or a program may name it by itself


@pytest.mark.parametrize("thing", OTHER_THINGS)
def test_what_is_no_file_is_no_gguf(root: Path, thing: str) -> None:
    path = root / "m.gguf"
    OTHER_THINGS[thing](path)
    models_of(root)
    assert inspect(path).problem is not None


@pytest.mark.parametrize("thing", OTHER_THINGS)
def test_what_is_no_file_is_no_manifest(root: Path, thing: str) -> None:
    OTHER_THINGS[thing](store(root) / "tag")
    models_of(root)


@pytest.mark.parametrize("place", ["manifests/x", "manifests/x/y", "manifests/x/y/z", "manifests/x/y/z/t/u"])
def test_a_manifest_at_another_depth_is_left_out(root: Path, place: str, caplog: pytest.LogCaptureFixture) -> None:
    store(root)
    path = root / "ollama" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"layers": [{"mediaType": "m", "digest": "d"}]}))
    models_of(root)
    told = [record for record in caplog.records if str(path) in record.getMessage()]
    assert len(told) == (place.count("/") < 4)  # below a manifest's place nobody looks


@pytest.mark.parametrize(
    "text",
    [
        '{"layers": null}', '{"layers": {}}', '{"layers": [null]}', '{"layers": [{"mediaType": [], "digest": {}}]}',
        '{"layers": [{"digest": "x"}]}', '{"layers": "m"}', "null", "7", '"text"',
        '{"layers": ' + "[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000,
        '{"layers": [{"mediaType": "\\ud800", "digest": "\\u0000"}]}', "\x00" * 100, "9" * 10_000, "1e999", "NaN",
    ],
)  # fmt: skip
def test_a_manifest_of_other_contents_costs_itself_alone(root: Path, text: str) -> None:
    (store(root) / "tag").write_text(text)
    assert models_of(root).keys() == {"good-a", "good-z"}


def test_a_model_that_ollama_runs_elsewhere_is_left_out_quietly(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:" + "0" * 64, "size": 9}
    (store(root) / "120b-cloud").write_text(json.dumps({"schemaVersion": 2, "config": config, "layers": None}))
    assert models_of(root).keys() == {"good-a", "good-z"}
    assert not caplog.records


@pytest.mark.parametrize(
    "name",
    ["x" * 300, "x" * 100_000, "a\0b", "..", ".", "/", "\ud800", 7, None, ["x"], {}, True],
    ids=lambda name: repr(name)[:12],
)
def test_an_index_that_names_what_no_file_is(root: Path, name: object) -> None:
    folder = write_model(root / "m")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    assert "is damaged" in str(models_of(root)["m"].problem)


@pytest.mark.parametrize(
    "modules",
    [
        [{"type": "x.Pooling", "path": "a\0b"}],
        [{"type": "x.Pooling", "path": "x" * 300}],
        [{"type": "x.Pooling", "path": ".."}],
        [{"type": "x.Pooling", "path": ["1_Pooling"]}],
        [{"type": "x.Pooling", "path": "\ud800"}],
        [[]],
        {"type": "x.Pooling"},
        None,
    ],
)
def test_modules_that_lead_nowhere(root: Path, modules: object) -> None:
    folder = write_embedder(root / "m")
    (folder / "modules.json").write_text(json.dumps(modules))
    assert models_of(root)["m"].problem is not None


def test_a_config_with_numbers_that_only_pythons_writer_knows_is_read(root: Path) -> None:
    write_model(
        root / "m", llama_config(time_step_limit=[0.0, float("inf")], model_max_length=10**30, eps=float("nan"))
    )
    assert models_of(root)["m"].problem is None


def test_a_folder_that_cannot_be_looked_into_costs_itself_alone(root: Path) -> None:
    """As another user: for root every folder is open."""
    shut = root / "m"
    write_model(shut)
    script = (
        "import os, sys\nfrom pathlib import Path\n"
        "from launchdeck.models.describe import inspect\nfrom launchdeck.models.scan import scan\n"
        "os.geteuid() or os.setuid(65534)\n"
        "print([m.name for m in scan([Path(sys.argv[1])])], inspect(Path(sys.argv[1]) / 'm').problem)"
    )
    for above in (root, *root.parents[:3]):
        above.chmod(0o755)
    shut.chmod(0)
    answer = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("['good-a', 'good-z'] ")
    assert "may not be read" in answer.stdout


class TestWhereNobodyWalks:
    @pytest.mark.parametrize("end", ["/", "/proc", "/sys", "/dev", "/proc/self/root", "/proc/self"])
    def test_a_link_to_the_system(self, root: Path, end: str, caplog: pytest.LogCaptureFixture) -> None:
        (root / "m").symlink_to(end)
        scanner = Scanner()
        assert [model.name for model in scanner.scan([root])] == ["good-a", "good-z"]
        assert len(scanner._places) == 4  # the link was looked at, and nothing behind it
        assert [str(root / "m") in record.getMessage() for record in caplog.records] == [True]
        list(scanner.scan([root]))
        assert len(caplog.records) == 1

    def test_a_link_to_a_folder_above(self, root: Path) -> None:
        library = root / "library"
        (library / "deep").mkdir(parents=True)
        (library / "deep" / "up").symlink_to(root)
        llama().write(library / "m.gguf")
        assert [model.name for model in scan([library])] == ["m"]

    def test_a_link_to_another_place_is_followed(self, root: Path) -> None:
        library = root / "library"
        library.mkdir()
        (library / "others").symlink_to(root / "a")
        assert [model.name for model in scan([library])] == ["good-a"]

    def test_the_system_is_not_walked_where_the_settings_name_it(self, caplog: pytest.LogCaptureFixture) -> None:
        scanner = Scanner()
        assert list(scanner.scan([Path("/proc"), Path("/sys")])) == []
        assert len(scanner._places) == 2
        assert len(caplog.records) == 2

    def test_too_many_folders_are_cut_off_and_told(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(20):
            (root / "many" / str(number)).mkdir(parents=True)
        monkeypatch.setattr(bounds, "FOLDER_LIMIT", 10)
        assert [model.name for model in scan([root / "many", root / "a"])] == ["good-a"]
        assert "more than 10 folders" in caplog.text

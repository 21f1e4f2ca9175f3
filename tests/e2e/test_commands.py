"""The command line as people and programs use it: documents, sentences, exit statuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import skip_or_fail
from fakes import nvml
from fakes.driver import compiler
from fakes.gguf_models import llama
from launchdeck.settings.paths import Paths

pytestmark = pytest.mark.timeout(300)

INVENTORY = {
    "gpus": [
        {
            "index": index,
            "uuid": f"GPU-0000000{index}-aaaa",
            "pci_address": f"0000:0{index + 1}:00.0",
            "name": "NVIDIA GeForce RTX 4090",
            "gpu_type": "nvidia",
            "total_memory_mb": 24564,
            "used_memory_mb": 564,
            "free_memory_mb": 24000,
            "utilization_percent": None,
            "temperature_c": 40,
            "power_watts": 20.0,
            "state": "active",
            "processes": [],
        }
        for index in range(2)
    ],
    "total": 2,
    "detector": "NVMLDetector",
}


def launchdeck(
    *arguments: object, stdout: Any = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    """As at home, where Python collects what it prints."""
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, "-m", "launchdeck", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
        check=False,
        env={**usual, **environment},
    )


def document(*arguments: object) -> Any:
    """What `--json` prints: one document, and nothing else on either stream."""
    result = launchdeck(*arguments, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "inventory.json"
    path.write_text(json.dumps(INVENTORY), encoding="utf-8")
    return path


def test_version() -> None:
    assert re.fullmatch(r"launchdeck \d+\.\d+\.\d+\n", launchdeck("--version").stdout)


def test_wrong_usage_ends_with_two() -> None:
    for arguments in (["fly"], ["plan"], ["stop"], ["gpus", "--jsn"], ["plan", "m.gguf", "--serve", "chat"]):
        result = launchdeck(*arguments)
        assert result.returncode == 2
        assert "usage:" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["plan", "m.gguf", "--layers", "many"], "'many' is not a number, all or auto"),
        (["plan", "m.gguf", "--gpu", "x" * 129], "is not places, UUIDs or PCI addresses joined by commas, or cpu"),
        (["deploy", "m.gguf", "--gpu", "0,"], "'0,' is not places, UUIDs or PCI addresses joined by commas, or cpu"),
        (["plan", "m.gguf", "--split", "most"], "'most' is not numbers joined by commas, or even"),
        (["plan", "m.gguf", "--extra-args", "'open"], "with every quote closed"),
        (["logs", "smol", "-n", "0"], "'0' is not a whole number from 1 to 10000"),
        (["serve", "--api-port", "65536"], "'65536' is not a whole number from 0 to 65535"),
        (["--api-port", "x"], "'x' is not a whole number from 0 to 65535"),
    ],
)
def test_a_value_that_cannot_be_read_is_wrong_usage(arguments: list[str], sentence: str) -> None:
    result = launchdeck(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_a_model_is_named_by_its_place_or_as_it_is_listed(tmp_path: Path, inventory: Path) -> None:
    for folder, name in (("one", "tiny"), ("one", "Twice"), ("two", "Twice")):
        (tmp_path / folder).mkdir(exist_ok=True)
        llama().write(tmp_path / folder / f"{name}.gguf")
    settings = Paths.resolve().settings_file
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(f'model_folders = ["{tmp_path}/one", "{tmp_path}/two"]\n', encoding="utf-8")
    for name in ("tiny", "Tiny.gguf"):
        assert str(tmp_path / "one" / "tiny.gguf") in document("plan", name, "--inventory", inventory)["argv"]
    for name, sentence in (("twice", "Several models are named twice"), ("none", "no known model none")):
        result = launchdeck("plan", name)
        assert (result.returncode, result.stdout) == (1, "")
        assert sentence in result.stderr


def test_a_failure_is_a_document_too(tmp_path: Path) -> None:
    result = launchdeck("plan", tmp_path / "gone.gguf", "--json")
    error = json.loads(result.stdout)["error"]
    assert error.keys() == {"cause", "message", "advice", "evidence", "fixes"}
    assert error["cause"] == "model_unusable"
    assert (result.returncode, result.stderr) == (1, f"launchdeck: {error['message']} {error['advice']}\n")


@pytest.mark.parametrize("arguments", [["gpus", "--json"], ["models"], ["--version"], ["--help"], ["gpus", "--watch"]])
def test_a_reader_that_goes_away_is_no_failure(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        result = launchdeck(*arguments, stdout=nobody)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_interrupt_while_it_is_still_being_imported_ends_it_quietly(tmp_path: Path) -> None:
    (tmp_path / "argparse.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    result = launchdeck("gpus", PYTHONPATH=str(tmp_path))
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_output_that_cannot_be_written_is_told() -> None:
    for arguments in (["--version"], ["gpus", "--json"]):
        with Path("/dev/full").open("w") as full:
            result = launchdeck(*arguments, stdout=full)
        assert (result.returncode, result.stderr) == (
            1,
            "launchdeck: The output cannot be written: No space left on device.\n",
        )


def test_a_command_works_without_any_output() -> None:
    script = f'exec "{sys.executable}" -m launchdeck status >&- 2>&-'
    assert subprocess.run(["sh", "-c", script], timeout=240, check=False).returncode == 0


def test_a_name_that_is_no_text_is_printed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"bad\xff.gguf")).write_bytes(b"GGUF")
    strict = {"PYTHONIOENCODING": "utf-8:strict"}
    (model,) = json.loads(launchdeck("models", tmp_path, "--json", **strict).stdout)["models"]
    assert os.fsencode(model["path"]).endswith(b"/bad\xff.gguf")
    assert launchdeck("models", tmp_path, **strict).returncode == 0


def test_folders_that_cannot_be_made_are_told(tmp_path: Path, demo_model: Path) -> None:
    (tmp_path / "file").touch()
    home = {"LAUNCHDECK_HOME": str(tmp_path / "file")}
    result = launchdeck("serve", "--api-port", "0", **home)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"launchdeck: The folder {tmp_path}/file/config cannot be made: ")
    assert "Traceback" not in result.stderr
    report = launchdeck("selftest", "--json", **home)
    document = json.loads(report.stdout)
    assert (report.returncode, document["ok"], document["answer"]) == (1, False, None)
    assert "cannot be made" in document["checks"][0]["detail"]
    assert launchdeck("status", **home).returncode == 0
    assert launchdeck("plan", demo_model, "--gpu", "cpu", **home).returncode == 0


def test_gpus_without_a_gpu_is_one_cpu() -> None:
    inventory = document("gpus")
    (cpu,) = inventory["gpus"]
    assert (cpu["index"], cpu["gpu_type"]) == (0, "cpu")
    assert cpu["total_memory_mb"] > 0
    assert (inventory["total"], inventory["detector"]) == (1, "CPUDetector")


def test_a_recorded_inventory_is_given_back_as_it_was(inventory: Path) -> None:
    for arguments in (("gpus", "--inventory", inventory), ("--inventory", inventory, "gpus")):
        shown = document(*arguments)
        for recorded, read in zip(INVENTORY["gpus"], shown["gpus"], strict=True):  # type: ignore[call-overload]
            assert recorded.items() <= read.items()
        assert (shown["total"], shown["detector"]) == (2, "NVMLDetector")
    table = launchdeck("gpus", "--inventory", inventory).stdout
    assert "not measurable" in table
    assert "REPLAY" in table


def test_models_in_a_folder(tmp_path: Path, demo_model: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    (tmp_path / "demo.gguf").symlink_to(demo_model)
    models = {model["name"]: model for model in document("models", tmp_path)["models"]}
    assert models["demo"] == {
        "path": str(tmp_path / "demo.gguf"),
        "name": "demo",
        "format": "gguf",
        "architecture": "llama",
        "size_bytes": demo_model.stat().st_size,
        "block_count": 30,
        "context_length": 8192,
        "quantisation": "Q4_1",
        "server_types": ["llm", "embedding"],
        "problem": None,
    }
    assert "broken.gguf" in models["broken"]["problem"]


def test_the_demo_model_is_there_without_any_folder(demo_model: Path) -> None:
    assert str(demo_model) in [model["path"] for model in document("models")["models"]]


@pytest.mark.parametrize(("asked", "resolved"), [("0", 0), ("1", 1), ("17", 17), ("30", 30), ("31", 31), ("all", 31)])
def test_the_layers_asked_for_are_the_layers_in_argv(
    demo_model: Path, inventory: Path, asked: str, resolved: int
) -> None:
    plan = document("plan", demo_model, "--gpu", "1", "--layers", asked, "--inventory", inventory, "--backend", "llama")
    position = plan["argv"].index("--n-gpu-layers")
    assert plan["argv"][position + 1] == str(resolved)
    assert plan["layers"] == {
        "asked": -1 if asked == "all" else resolved,
        "resolved": resolved,
        "total": 31,
        "largest_that_fits": 31,
    }


def test_a_plan_pins_the_chosen_gpu_by_exactly_one_mask(demo_model: Path, inventory: Path) -> None:
    plan = document("plan", demo_model, "--gpu", "1", "--inventory", inventory, "--backend", "llama")
    assert plan["env"]["CUDA_VISIBLE_DEVICES"] == "GPU-00000001-aaaa"
    assert plan["env"]["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert not {"HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"} & plan["env"].keys()
    assert plan["env"]["LLAMA_API_KEY"] == "***"
    (device,) = plan["estimate"]["devices"]
    assert device["total_bytes"] == sum(
        device[part] for part in ("weights_bytes", "kv_bytes", "compute_bytes", "overhead_bytes")
    )
    assert device["free_bytes"] == 24000 * 1024**2
    assert device["fits"] is True
    assert any("No engine" in warning for warning in plan["warnings"]), "none is installed here, which has to be said"


@pytest.mark.parametrize("name", ["1", "GPU-00000001-aaaa", "gpu-00000001-AAAA", "0000:02:00.0", "02:00.0"])
def test_a_gpu_is_named_by_its_place_its_uuid_or_its_address(demo_model: Path, inventory: Path, name: str) -> None:
    plan = document("plan", demo_model, "--gpu", name, "--inventory", inventory, "--backend", "llama")
    assert plan["env"]["CUDA_VISIBLE_DEVICES"] == "GPU-00000001-aaaa"
    both = document("plan", demo_model, "--gpu", f"{name},0", "--inventory", inventory, "--backend", "llama")
    assert both["env"]["CUDA_VISIBLE_DEVICES"] == "GPU-00000001-aaaa,GPU-00000000-aaaa"


@pytest.mark.parametrize("name", ["7", "first", "GPU-nobody", "7F:00.0"])
def test_a_name_that_no_gpu_has_is_told_as_it_was_typed(demo_model: Path, inventory: Path, name: str) -> None:
    result = launchdeck("plan", demo_model, "--gpu", f"0,{name}", "--inventory", inventory)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"There is no GPU {name}." in result.stderr


def test_rarer_settings_go_into_the_command_and_into_the_estimate(demo_model: Path, inventory: Path) -> None:
    usual = ("plan", demo_model, "--gpu", "1", "--inventory", inventory, "--backend", "llama")
    options = ["--flash-attn", "off", "--threads", "3", "--batch-size", "1024", "--ubatch-size", "128", "--extra-args"]
    plan, plain = document(*usual, *options, "--temp 0.5 --no-warmup"), document(*usual)
    words = "--flash-attn off --batch-size 1024 --ubatch-size 128 --threads 3 --temp 0.5 --no-warmup"
    assert " ".join(plan["argv"]).endswith(words)
    (rare,), (common,) = plan["estimate"]["devices"], plain["estimate"]["devices"]
    assert rare["compute_bytes"] != common["compute_bytes"]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not compiler():
        skip_or_fail("no C compiler (cc) to build the stand-in for NVIDIA's driver library")
    return nvml.build(tmp_path_factory.mktemp("nvml"))


def test_a_gpu_that_no_engine_can_use_is_refused_and_never_replaced_by_the_cpu(
    demo_model: Path, driver: Path, tmp_path: Path
) -> None:
    fake = nvml.FakeNvml(driver, tmp_path)
    fake.add_gpu()
    bare = {**fake.environment, "PATH": str(tmp_path)}  # without a llama-server
    result = launchdeck("plan", demo_model, "--gpu", "0", **bare)
    assert (result.returncode, result.stdout) == (1, "")
    assert "CPU" in result.stderr
    named = launchdeck("plan", demo_model, "--gpu", "0", "--backend", "llama", "--json", **bare)
    assert json.loads(named.stdout)["argv"][0] == "llama-server"
    assert any("llama-server" in warning for warning in json.loads(named.stdout)["warnings"])
    on_cpu = launchdeck("plan", demo_model, "--gpu", "cpu", "--json", **bare)
    assert json.loads(on_cpu.stdout)["layers"]["resolved"] == 0


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.gguf", b"", "empty.gguf"),
        ("text.gguf", b"This is no model at all, it only has the name of one.", "text.gguf"),
        ("cut.gguf", None, "cut.gguf"),
    ],
)
def test_a_file_that_is_no_model_is_told(
    tmp_path: Path, demo_model: Path, name: str, content: bytes | None, sentence: str
) -> None:
    path = tmp_path / name
    path.write_bytes(demo_model.read_bytes()[:5_000_000] if content is None else content)
    result = launchdeck("plan", path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("launchdeck: ")
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ctx", "99999"], "8192"),
        (["--ctx", "0"], "8192"),
        (["--layers", "32"], "31"),
        (["--layers", "-2"], "31"),
        (["--gpu", "7"], "GPU 7"),
        (["--cache-type-k", "f17"], "f17"),
        (["--parallel", "0"], "0"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_told(
    demo_model: Path, inventory: Path, arguments: list[str], sentence: str
) -> None:
    result = launchdeck("plan", demo_model, "--gpu", "0", "--inventory", inventory, *arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    for arguments in (["plan", tmp_path / "gone.gguf"], ["plan", tmp_path], ["models", tmp_path / "gone"],
                      ["gpus", "--inventory", tmp_path / "gone.json"], ["serve", "--inventory", tmp_path / "gone.json"],
                      ["--inventory", tmp_path / "gone.json"]):  # fmt: skip
        result = launchdeck(*arguments)
        assert result.returncode == 1
        assert str(arguments[-1]) in result.stderr


def test_an_engine_path_that_leads_nowhere_is_told(demo_model: Path, launchdeck_home: Path) -> None:
    settings = launchdeck_home / "config" / "settings.toml"
    settings.parent.mkdir()
    settings.write_text('llama_server_path = "/nowhere/llama-server"\n', encoding="utf-8")
    result = launchdeck("plan", demo_model, "--gpu", "cpu")
    assert result.returncode == 0  # the built-in engine is still there
    assert "/nowhere/llama-server" in result.stdout + result.stderr


def test_a_model_with_another_shape_has_its_own_number_of_layers(tmp_path: Path, inventory: Path) -> None:
    path = llama(n_layer=5).write(tmp_path / "tiny.gguf")
    plan = document("plan", path, "--gpu", "0", "--layers", "all", "--inventory", inventory, "--backend", "llama")
    assert plan["layers"]["total"] == 6


def test_status_and_stop_where_nothing_runs() -> None:
    assert document("status") == {"models": []}
    assert document("stop", "--all") == {"stopped": []}
    result = launchdeck("stop", "nobody")
    assert result.returncode == 1
    assert "nobody" in result.stderr


def test_selftest_deploys_asks_and_stops(launchdeck_home: Path, tmp_path: Path) -> None:
    report = document("selftest", "--screenshot", tmp_path / "window.png")
    assert report["ok"] is True
    assert report["answer"]
    assert [check["name"] for check in report["checks"]] == [
        "environment", "detectors", "engines", "deploy", "answer", "screenshot", "stop",
    ]  # fmt: skip
    assert (tmp_path / "window.png").read_bytes().startswith(b"\x89PNG")
    assert document("status") == {"models": []}
    assert list((launchdeck_home / "state").iterdir()) == []

"""What is read back from files: for each kind what is valid, the way it is read, and the neighbour that has to stay."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import shutil
import struct
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fakes import samples
from fakes.gguf_models import llama
from fakes.safetensors_writer import write_embedder, write_sharded
from fakes.serving import Bench, fake_planner
from launchdeck.api.documents import deployment_document, dumps
from launchdeck.domain.errors import LaunchdeckError
from launchdeck.domain.request import ModelLoadRequest
from launchdeck.engines.devices.device_orders import MOST_DEVICES, DeviceOrders
from launchdeck.engines.devices.listing import bus_place
from launchdeck.engines.getting.fetched import fetched_engines
from launchdeck.engines.llama.accounting import Accounting
from launchdeck.engines.llama.capabilities import CapabilityCache
from launchdeck.engines.residuals import LARGEST_BYTES, Residuals
from launchdeck.hardware.document import to_document
from launchdeck.hardware.replay import ReplaySource
from launchdeck.models.scan import scan
from launchdeck.monitor.history import METRICS, History
from launchdeck.monitor.history_store import HistoryStore
from launchdeck.serving.records.codec import to_json
from launchdeck.serving.records.unstarted import LAUNCH_NAME, note_launch, read_unstarted
from launchdeck.serving.requests.request_memory import LAST, PRESETS, RequestMemory
from launchdeck.serving.requests.start_list import StartList
from launchdeck.serving.shim.processes import boot_id
from launchdeck.settings.paths import Paths
from launchdeck.settings.store import SettingsStore
from launchdeck.ui.window.window_memory import WindowMemory

GOOD, ODD = "00000001", "00000002"
REQUEST = ModelLoadRequest(
    Path("/models/demo.gguf"),
    gpu_uuids=("GPU-0",),
    known_gpus=samples.planned_gpus(0),
    n_gpu_layers=12,
    split=(1.0, 2.0),
)


@dataclass(frozen=True)
class Subject:
    """`file` is damaged, `valid` is what should stand in it: a JSON document, or bytes.

    `read` reads it together with its neighbour, and raises AssertionError where the neighbour is gone, or where what
    was read is of no use. `prepare` makes the neighbour, once or, with `is_consumed`, for every input.
    """

    name: str
    file: Path
    valid: Any
    read: Callable[[], None]
    prepare: Callable[[], None] = lambda: None
    is_consumed: bool = False


def subjects(home: Path) -> list[Subject]:
    """All kinds of files that are read back; `home` is LAUNCHDECK_HOME's parent, with everything below it."""
    paths = Paths.resolve()
    paths.create()
    return [
        _records(paths, version=2),
        _records(paths, version=1),
        _launch(paths),
        _start_list(paths.state / "start-with-launchdeck.json", version=2),
        _start_list(paths.state / "start-before.json", version=1),
        _requests(paths.state / "requests.json", version=2),
        _requests(paths.state / "requests-before.json", version=1),
        _settings(paths.settings_file),
        _history(paths.history),
        _window(paths.config / "window.ini"),
        _inventory(home / "inventory.json"),
        _accounting(paths.cache / "accounting.json"),
        _residuals(paths.state / "residuals.json"),
        _device_orders(paths.state / "device-orders.json"),
        _capabilities(paths.cache / "engines.json"),
        _engine(paths),
        *_models(home / "models"),
    ]


def record_of(paths: Paths, deployment_id: str, name: str, version: int) -> dict[str, Any]:
    """A model of this boot that has ended by itself, with everything that a record can say."""
    failure = to_json(samples.failed_deployment().failure)
    plan = to_json(fake_planner()(replace(REQUEST, model_id=name), 8001))
    if version == 1:
        del plan["gpus"]
        plan["env"].append(["CUDA_VISIBLE_DEVICES", "GPU-0"])
    return {
        "version": version,
        "id": deployment_id,
        "boot_id": boot_id(),
        "created_at_s": 5.0,
        "socket": str(paths.runtime / f"{deployment_id}.sock"),
        "shim": [4194303, 1],
        "engine": [4194302, 1],
        "tree": [[4194302, 1]],
        "started_at_s": 5.5,
        "ended_at_s": 6.0,
        "stop_asked": False,
        "exit_code": 1,
        "start_error": {"path": "/bin/llama-server", "reason": "[Errno 13] Permission denied"},
        "log_size": 0,
        "note": {"ready_at_s": 5.7, "failure": failure},
        "plan": plan | {"request": _of_version(version, plan["request"])},
    }


def _records(paths: Paths, version: int) -> Subject:
    """A whole start and Quit: what has ended is forgotten with its folder, what is odd keeps it."""

    async def start_and_quit() -> None:
        bench = Bench()
        problems = await bench.manager.adopt()
        deployments = {deployment.id: deployment for deployment in bench.manager.deployments}
        assert GOOD in deployments
        for deployment in deployments.values():
            document = dumps(deployment_document(deployment, cpu_index=0))
            json.loads(document, parse_constant=_refuse)
            str(deployment.failure)
        is_told = any(str(problem) for problem in problems)
        await bench.manager.close(keep=True)
        assert not (paths.records / GOOD).exists()
        assert ODD in deployments or (is_told and (paths.records / ODD).exists()) or not _holds_a_record(paths)

    def prepare() -> None:
        (paths.records / GOOD).mkdir(parents=True)
        (paths.records / GOOD / "record.json").write_text(json.dumps(record_of(paths, GOOD, "good", version)))

    file = paths.records / ODD / "record.json"
    runner = asyncio.Runner()  # one loop for all inputs: to make one takes longer than to read
    atexit.register(runner.close)
    return Subject(
        f"records, version {version}",
        file,
        record_of(paths, ODD, "odd", version),
        lambda: runner.run(start_and_quit()),
        prepare,
        is_consumed=True,
    )


def _holds_a_record(paths: Paths) -> bool:
    return os.path.lexists(paths.records / ODD / "record.json")


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} in a document")


def _of_version(version: int, request: dict[str, Any]) -> dict[str, Any]:
    """Those of the first version name GPUs by their places."""
    if version > 1:
        return request
    return {n: v for n, v in request.items() if n not in {"gpu_uuids", "known_gpus"}} | {"gpu_indices": [0]}


def _launch(paths: Paths) -> Subject:
    """What one launch says of itself costs no other, and no start."""
    good = replace(samples.deployment(), id="0000000c")

    def read() -> None:
        found = list(read_unstarted(paths.records))
        assert good.id in {deployment.id for deployment in found}
        for deployment in found:
            json.loads(dumps(deployment_document(deployment, cpu_index=0)), parse_constant=_refuse)

    valid = {"created_at_s": 5.0, "plan": to_json(good.plan)}
    file = paths.records / "0000000d" / LAUNCH_NAME
    return Subject("launch", file, valid, read, prepare=lambda: note_launch(paths.records, good))


def _start_list(file: Path, version: int) -> Subject:
    marked = {name: _of_version(version, to_json(REQUEST) | {"model_id": name}) for name in ("good", "odd")}
    valid = marked if version == 1 else {"version": version, "requests": marked}

    def read() -> None:
        before = _content(file)
        entries = StartList(file)
        is_read = len(entries.requests) == _entry_count(before)
        _assert_kept(file, before, is_read=is_read)
        entries.mark("new", REQUEST, marked=True)
        assert "new" in StartList(file)
        _assert_kept(file, before, is_read=is_read)

    return Subject(f"start list, version {version}", file, valid, read)


def _requests(file: Path, version: int) -> Subject:
    one, two = (_of_version(version, to_json(REQUEST)) for _ in range(2))
    parts = {"last": {"/models/demo.gguf": one}, "presets": {"good": two, "odd": one}}
    valid = parts if version == 1 else {"version": version, "requests": parts}

    def read() -> None:
        before = _content(file)
        memory = RequestMemory(file)
        count = len(memory.file.part(LAST)) + len(memory.file.part(PRESETS))
        is_read = count == _entry_count(before, {LAST, PRESETS})
        memory.save_preset("new", REQUEST)
        assert RequestMemory(file).preset("new") == REQUEST
        _assert_kept(file, before, is_read=is_read)

    return Subject(f"remembered requests, version {version}", file, valid, read)


def _settings(file: Path) -> Subject:
    valid = (
        b'version = 1\ntheme = "dark"\nsampling_interval_s = 5.0\nfirst_port = 8001\nmodel_folders = ["/models"]\n'
        b"stop_grace_s = 5.0\nlog_limit_mib = 32\n"
    )

    def read() -> None:
        before = _content(file)
        store = SettingsStore(file)
        is_read = store.problem is None and _is_toml(before)
        store.save(store.settings)
        assert SettingsStore(file).settings == store.settings
        _assert_kept(file, before, is_read=is_read)

    return Subject("settings", file, valid, read)


def _history(file: Path) -> Subject:
    times = np.arange(1000.0, 1500.0, 5.0)
    values = np.zeros((len(METRICS), len(times)), np.float32)
    archive = BytesIO()
    np.savez(archive, format=np.array(1), uuids=np.array(["GPU-0"]), times_0=times, values_0=values)

    def read() -> None:
        rows = HistoryStore(file).load()
        History(5.0).restore(rows, time.time())
        HistoryStore(file).save({"GPU-0": (times, values)})

    return Subject("history", file, archive.getvalue(), read)


def _window(file: Path) -> Subject:
    """What a window would ask of the file, without one; the neighbour is a value whose line is as it was."""
    sizes = [100, 200, 300]
    good = struct.pack(">iiI3i", 0xFF, 1, 3, *sizes)
    lines = [b"%s=@ByteArray(%s)" % (name, b"".join(b"\\x%02x" % byte for byte in good)) for name in (b"good", b"odd")]

    def read() -> None:
        before = _content(file)
        memory = WindowMemory(file)
        memory.geometry("odd")
        memory.sizes("odd", 3)
        is_read = file.is_file() and not memory._is_unread
        about_it = [line for line in (before or b"").splitlines() if line.partition(b"=")[0].strip() == b"good"]
        assert not is_read or about_it != lines[:1] or memory.sizes("good", 3) == sizes
        memory.write({"good": good})
        assert WindowMemory(file).sizes("good", 3) == sizes
        _assert_kept(file, before, is_read=is_read)

    return Subject("window", file, b"\n".join((b"[General]", *reversed(lines), b"")), read)


def _inventory(file: Path) -> Subject:
    def read() -> None:
        with contextlib.suppress(LaunchdeckError):
            json.dumps(to_document(ReplaySource.open(file).read()), allow_nan=False)

    return Subject("inventory", file, to_document(samples.two_gpus()), read)


def _accounting(file: Path) -> Subject:
    def read() -> None:
        known = Accounting(file)._off_bytes
        assert all(value is None or type(value) is int for values in known.values() for value in values)

    return Subject("accounting", file, {"good": [1, None], "odd": [1 << 20, -5]}, read)


def _residuals(file: Path) -> Subject:
    def read() -> None:
        known = Residuals(file)._bytes
        assert all(type(value) is int and 0 <= value <= LARGEST_BYTES for value in known.values())

    return Subject("residuals", file, {"GPU-0 580 llama-server 10605": 589 << 20, "odd": 300 << 20}, read)


def _device_orders(file: Path) -> Subject:
    def read() -> None:
        for order in DeviceOrders(file)._orders.values():
            assert len(order) <= MOST_DEVICES
            assert all(bus_place(address) for address in order.values())

    return Subject("orders of devices", file, {"good": {"Vulkan0": "0000:01:00.0"}, "odd": {"Vulkan1": "x"}}, read)


def _capabilities(file: Path) -> Subject:
    program = file.parent / "llama-server"
    entry = {
        "boot": boot_id(),
        "flags": ["--model"],
        "switches": ["--jinja"],
        "devices": ["CUDA0: RTX (24000 MiB, 23000 MiB free)"],
    }

    def prepare() -> None:
        program.write_text("#!/bin/sh\nexit 1\n")
        program.chmod(0o755)

    def stamped() -> dict[str, Any]:
        prepare()
        stamp = f"{program.stat().st_size}:{program.stat().st_mtime_ns}"
        return {str(program): entry | {"stamp": stamp, "version": "1 (b10605)", "build": 10605}, "odd": dict(entry)}

    def read() -> None:
        with contextlib.suppress(LaunchdeckError):  # it was asked anew, and is none
            found = CapabilityCache(file).ask([str(program)], program)
            assert all(isinstance(word, str) for word in (*found.flags, *found.devices))

    return Subject("engines asked", file, stamped(), read)


def _engine(paths: Paths) -> Subject:
    root = paths.data / "engines"
    note = {"kind": "archive", "title": "llama.cpp", "program": "build/bin/llama-server"}

    def prepare() -> None:
        (root / "good").mkdir(parents=True)
        (root / "good" / "engine.json").write_text(json.dumps(note))

    def read() -> None:
        found = {engine.folder.name: engine for engine in fetched_engines(paths)}
        assert "good" in found
        assert all(
            engine.folder in engine.program.parents or engine.program == engine.folder for engine in found.values()
        )

    return Subject("engines fetched", root / "odd" / "engine.json", note, read, prepare)


def _models(root: Path) -> list[Subject]:
    """Every small file beside a model; the neighbour is a GGUF file in the same folder."""
    root.mkdir()
    llama(n_layer=1, n_vocab=64).write(root / "good.gguf")
    write_sharded(root / "sharded", 2)
    write_embedder(root / "embedder")
    blob = root / "store" / "blobs" / ("sha256-" + "a" * 64)
    blob.parent.mkdir(parents=True)
    shutil.copy(root / "good.gguf", blob)
    manifest = root / "store" / "manifests" / "registry.ollama.ai" / "library" / "qwen3" / "8b"
    layers = [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{'a' * 64}", "size": 1}]

    def read() -> None:
        models = list(scan([root]))
        assert "good" in {model.name for model in models}
        for model in models:
            json.dumps([model.name, str(model.path), str(model.problem)])

    files = [
        root / "sharded" / "config.json",
        root / "sharded" / "model.safetensors.index.json",
        root / "embedder" / "modules.json",
        root / "embedder" / "sentence_bert_config.json",
        root / "embedder" / "1_Pooling" / "config.json",
    ]
    return [
        Subject("manifest", manifest, {"schemaVersion": 2, "layers": layers}, read),
        *(Subject(f"{file.parent.name}/{file.name}", file, json.loads(file.read_text()), read) for file in files),
    ]


def _entry_count(content: bytes | None, parts: set[str] | None = None) -> int | None:
    """How many requests a file lists, as they are or in these parts; None for one that is not all requests."""
    try:
        document = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        return None
    if isinstance(document, dict) and type(document.get("version")) is int:
        if document["version"] != 2 or document.keys() - {"version", "requests"}:
            return None
        document = document.get("requests", {})
    if parts is None:
        return len(document) if isinstance(document, dict) else None
    if not isinstance(document, dict) or document.keys() - parts:
        return None
    return sum(len(part) for part in document.values()) if all(isinstance(p, dict) for p in document.values()) else None


def _is_toml(content: bytes | None) -> bool:
    try:
        tomllib.loads((content or b"").decode())
    except (ValueError, RecursionError):
        return False
    return True


def _content(file: Path) -> bytes | None:
    """None for what is no file, or cannot be read."""
    try:
        return file.read_bytes() if file.is_file() and file.stat().st_size else None
    except OSError:
        return None


def _assert_kept(file: Path, before: bytes | None, *, is_read: bool) -> None:
    """What could not be used is still there, in its place or set aside."""
    if before is None or is_read:
        return
    kept = [file, *file.parent.glob(f"{file.name}.corrupt*"), *file.parent.glob(f"{file.name}.v*")]
    assert before in [_content(place) for place in kept], f"{file.name} is lost: {before[:200]!r}"

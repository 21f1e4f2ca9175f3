"""24 hours survive a restart, a crash costs minutes at most, and a broken file costs nothing but itself."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import launchdeck
from fakes.mutations import damaged
from launchdeck.domain.gpu import Gpu, GpuReading, GpuSample, GpuType, Inventory
from launchdeck.monitor.history import METRICS, History
from launchdeck.monitor.history_keeper import HistoryKeeper
from launchdeck.monitor.history_store import HistoryStore

NAN, ONE = np.array([np.nan]), np.array([1.0])
MUTATIONS = 2000
PIECES = (
    *(struct.pack("<d", number) for number in (np.nan, np.inf, -1.0, 1e300)),
    b"9", b"O", b"[", b"(", b"'", b"\xff", b"\0",
)  # fmt: skip
GIB = 2**30
DAY_S = 86_400
GPU = Gpu(0, "GPU-a", "0000:01:00.0", "RTX 4090", GpuType.NVIDIA, 24 * GIB)
CPU = Gpu(0, "cpu", None, "CPU", GpuType.CPU, 64 * GIB)


def inventory(at_s: float, percent: int | None = 50) -> Inventory:
    gpu = GpuSample(at_s, used_memory_bytes=GIB, utilization_percent=percent)
    return Inventory((GpuReading(GPU, gpu),), GpuReading(CPU, GpuSample(at_s)), "Test", at_s)


def filled(first_s: float, count: int, step_s: float = 5.0) -> History:
    history = History(step_s)
    for place in range(count):
        history.append(inventory(first_s + place * step_s, place % 100))
    return history


def load_percent(history: History, now_s: float) -> tuple[list[float], list[float]]:
    times, values = history.series(GPU.uuid, "utilization_percent", now_s - DAY_S, now_s + 1)
    return times.tolist(), values.tolist()


def test_what_was_saved_comes_back(tmp_path: Path):
    now_s = time.time()
    before = filled(now_s - 500, 100)
    HistoryStore(tmp_path / "history.npz").save(before.rows(now_s))
    after = History(5.0)
    after.restore(HistoryStore(tmp_path / "history.npz").load(), now_s)
    assert load_percent(after, now_s) == load_percent(before, now_s)


def test_the_time_without_the_application_is_a_gap(tmp_path: Path):
    now_s = time.time()
    HistoryStore(tmp_path / "history.npz").save(filled(now_s - 1000, 3).rows(now_s))
    history = History(5.0)
    history.restore(HistoryStore(tmp_path / "history.npz").load(), now_s)
    history.append(inventory(now_s, 70))
    times, values = load_percent(history, now_s)
    assert times == [now_s - 1000, now_s - 995, now_s - 990, now_s - 985, now_s]
    assert values[:3] + values[4:] == [0, 1, 2, 70]
    assert np.isnan(values[3])


def test_what_is_older_than_a_day_or_not_yet_there_is_left_out():
    now_s = time.time()
    history = History(5.0)
    times = np.array([now_s - DAY_S - 10, now_s - 20, now_s + 3600])
    history.restore({GPU.uuid: (times, np.ones((len(METRICS), 3), np.float32))}, now_s)
    assert load_percent(history, now_s + 2 * 3600)[0] == [now_s - 20]
    history.restore({"GPU-gone": (times[:1], np.ones((len(METRICS), 1), np.float32))}, now_s)
    assert "GPU-gone" not in history.rows(now_s)


def test_a_day_at_a_second_is_kept_by_an_application_that_reads_more_rarely():
    now_s = time.time()
    rows = filled(now_s - DAY_S + 10, DAY_S - 10, step_s=1.0).rows(now_s)
    history = History(60.0)
    history.restore(rows, now_s)
    history.append(inventory(now_s + 1))
    assert len(load_percent(history, now_s)[0]) >= DAY_S - 20


def test_rows_are_a_copy_and_hold_a_day_only():
    now_s = time.time()
    history = filled(now_s - 3 * DAY_S, 3 * 1440, step_s=60.0)
    rows = history.rows(now_s)
    assert rows[GPU.uuid][0][0] >= now_s - DAY_S
    history.append(inventory(now_s))
    assert now_s not in rows[GPU.uuid][0]


def test_a_missing_file_is_an_empty_history(tmp_path: Path):
    assert HistoryStore(tmp_path / "history.npz").load() == {}


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(64)])
def test_a_broken_file_is_set_aside_and_told(tmp_path: Path, caplog, content: bytes):
    path = tmp_path / "history.npz"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert HistoryStore(path).load() == {}
    assert not path.exists()
    assert (tmp_path / "history.npz.corrupt").read_bytes() == content
    assert "history.npz.corrupt" in caplog.text


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_is_told_and_kept_beside_the_new_one(tmp_path: Path, caplog, make):
    path = tmp_path / "history.npz"
    make(path)
    store = HistoryStore(path)
    assert store.load() == {}
    assert "cannot be read" in caplog.text
    store.save(filled(time.time() - 500, 100).rows(time.time()))
    assert (tmp_path / "history.npz.corrupt").exists()
    assert HistoryStore(path).load() != {}


def test_what_cannot_be_read_and_cannot_be_renamed_is_never_written_over(tmp_path: Path, caplog, monkeypatch):
    """Root may rename everything: the disk says no in its place."""
    path = tmp_path / "history.npz"
    path.write_bytes(b"no archive")
    refusal = PermissionError(13, "Permission denied")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(refusal))
    store = HistoryStore(path)
    assert store.load() == {}
    store.save({})
    assert path.read_bytes() == b"no archive"
    assert "could not be saved" in caplog.text


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.99])
def test_a_file_that_ends_early_is_set_aside(tmp_path: Path, cut: float):
    path = tmp_path / "history.npz"
    HistoryStore(path).save(filled(time.time() - 500, 100).rows(time.time()))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut)])
    assert HistoryStore(path).load() == {}
    assert (tmp_path / "history.npz.corrupt").exists()


def test_a_flipped_bit_is_noticed(tmp_path: Path):
    path = tmp_path / "history.npz"
    HistoryStore(path).save(filled(time.time() - 500, 100).rows(time.time()))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0x10
    path.write_bytes(damaged)
    assert HistoryStore(path).load() == {}


@pytest.mark.parametrize(
    "arrays",
    [
        {"format": np.array(99), "uuids": np.array([], np.str_)},
        {"format": np.array(1)},
        {"format": np.array(1), "uuids": np.array(["a"]), "times_0": np.zeros(2), "values_0": np.zeros((4, 3), "f4")},
        {"format": np.array(1), "uuids": np.array(["a"]), "times_0": np.zeros(2), "values_0": np.zeros((4, 2), "f4")},
        {"format": np.array(1), "uuids": np.array(["a"]), "times_0": NAN, "values_0": np.zeros((4, 1), "f4")},
        {"format": np.array(1), "uuids": np.array(["a"]), "times_0": ONE, "values_0": np.full((4, 1), np.inf, "f4")},
        {"format": np.array(1), "uuids": np.array(["a"]), "times_0": np.array(1.0), "values_0": np.zeros(4, "f4")},
        {"format": np.array(1), "uuids": np.array(["a"]), "times_0": np.array([None]), "values_0": ONE},
        {"format": np.array([1, 1]), "uuids": np.array([], np.str_)},
        {"format": np.array("x"), "uuids": np.array([], np.str_)},
        {"format": np.array(np.nan), "uuids": np.array([], np.str_)},
        {"format": np.array(1), "uuids": np.array(5)},
        {"format": np.array(1), "uuids": np.array([1.0])},
        {"format": np.array(1), "uuids": np.array(["a"] * 2000)},
    ],
)
def test_an_archive_of_another_kind_is_set_aside(tmp_path: Path, arrays: dict[str, np.ndarray]):
    np.savez(tmp_path / "history.npz", allow_pickle=True, **arrays)
    assert HistoryStore(tmp_path / "history.npz").load() == {}
    assert (tmp_path / "history.npz.corrupt").exists()


def archive_of(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def npy(array: np.ndarray, shape: str | None = None) -> bytes:
    """The array, under a header that says it has this shape."""
    file = io.BytesIO()
    np.save(file, array)
    data = file.getvalue()
    if shape is None:
        return data
    begin = data.index(b"'shape': ") + 9
    end = data.index(b", }", begin)
    room = len(data[:128].rstrip())
    header = (data[:begin] + shape.encode() + data[end:room]).ljust(127) + b"\n"
    return header[:128] + data[128:]


KNOWN = {"format": npy(np.array(1)), "uuids": npy(np.array(["a"])), "values_0": npy(np.zeros((4, 1), "f4"))}


@pytest.mark.parametrize(
    "shape", ["(1000000000,)", "(10**18,)", "(1000000000000000000,)", "(-1,)", "(0,)", "(1, 0, 9)"]
)
def test_a_header_that_promises_more_than_there_is_is_not_believed(tmp_path: Path, shape: str):
    path = tmp_path / "history.npz"
    path.write_bytes(archive_of(KNOWN | {"times_0": npy(ONE, shape)}))
    tracemalloc.start()
    assert HistoryStore(path).load() == {}
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()
    assert (tmp_path / "history.npz.corrupt").exists()


def test_a_small_archive_of_large_parts_is_not_unpacked(tmp_path: Path):
    path = tmp_path / "history.npz"
    path.write_bytes(archive_of(KNOWN | {"times_0": npy(np.zeros(30_000_000))}, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    assert HistoryStore(path).load() == {}
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def test_no_file_costs_more_than_the_history(tmp_path: Path, record_property: Callable[[str, object], None]):
    """Seeded: cuts, flips, insertions and noise, in the archive and, with the right sums, in its parts."""
    path = tmp_path / "history.npz"
    HistoryStore(path).save(filled(time.time() - 500, 20).rows(time.time()))
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        parts = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    chance = random.Random(12)
    slowest_s, used = 0.0, 0
    for number in range(MUTATIONS):
        name = chance.choice(list(parts))
        inside = archive_of(parts | {name: damaged(parts[name], chance, PIECES)})
        path.write_bytes(inside if number % 2 else damaged(whole, chance, PIECES))
        began_s = time.monotonic()
        rows = HistoryStore(path).load()
        history = History(5.0)
        history.restore(rows, time.time())
        for uuid in rows:
            history.series(uuid, "utilization_percent", time.time() - DAY_S, time.time(), 100)
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        used += bool(rows)
        (tmp_path / "history.npz.corrupt").unlink(missing_ok=True)
    record_property("fuzzed", f"history, in its parts: {MUTATIONS} inputs, {used} used, the slowest {slowest_s:.3f} s")
    assert slowest_s < 5 * 2


def test_the_file_is_the_users_alone_and_of_a_known_size(tmp_path: Path):
    path = tmp_path / "history.npz"
    count = 17_280
    HistoryStore(path).save(filled(time.time() - count * 5, count).rows(time.time()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size < 2 * count * 24 * 1.01 + 10_000  # two devices
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_to_is_told_once(tmp_path: Path, caplog):
    (tmp_path / "taken").write_text("a file where the folder should be", encoding="utf-8")
    store = HistoryStore(tmp_path / "taken" / "history.npz")
    with caplog.at_level(logging.WARNING):
        store.save({})
        store.save({})
    assert caplog.text.count("could not be saved") == 1


def test_the_keeper_saves_again_and_again_and_at_the_end(tmp_path: Path):
    path = tmp_path / "history.npz"
    now_s = time.time()

    async def run() -> None:
        keeper = HistoryKeeper(path, save_every_s=0.05)
        history = await keeper.open(5.0)
        history.append(inventory(now_s - 10))
        while len(HistoryStore(path).load()) < 2:  # both devices
            await asyncio.sleep(0.02)
        history.append(inventory(now_s - 5))
        await keeper.close()

    asyncio.run(asyncio.wait_for(run(), 30))
    assert HistoryStore(path).load()[GPU.uuid][0].tolist() == [now_s - 10, now_s - 5]


def test_without_a_file_nothing_is_saved(tmp_path: Path):
    async def run() -> None:
        keeper = HistoryKeeper(None, save_every_s=0.01)
        (await keeper.open(5.0)).append(inventory(time.time()))
        await asyncio.sleep(0.05)
        await keeper.close()

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []


SAVING = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from unit.monitor.test_history_store import HistoryStore, filled
store = HistoryStore(Path(sys.argv[1]))
rows = filled(time.time() - 60_000, 10_000).rows(time.time())
store.save(rows)
print("saved", flush=True)
while True:
    store.save(rows)
"""


def test_kill_minus_9_while_saving_leaves_a_whole_file(tmp_path: Path):
    path = tmp_path / "history.npz"
    tests = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(Path(launchdeck.__file__).parents[1])}
    command = [sys.executable, "-c", SAVING, str(path), str(tests)]
    for wait_s in (0.0, 0.013, 0.037):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(wait_s)
            process.send_signal(signal.SIGKILL)
        assert len(HistoryStore(path).load()[GPU.uuid][0]) == 10_000
    assert not (tmp_path / "history.npz.corrupt").exists()

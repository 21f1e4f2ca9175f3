"""The GGUF reader: what it reads, and what it says about files that cannot be read."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.gguf_models import llama
from fakes.gguf_writer import Gguf, Tensor, Typed
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.models.gguf.gguf import HeaderCache, read_header

VALUES = {
    "general.architecture": "llama",
    "a.bool": True,
    "a.u8": Typed("B", 255),
    "a.i8": Typed("b", -3),
    "a.u16": Typed("H", 65535),
    "a.i64": Typed("q", -(1 << 40)),
    "a.u64": Typed("Q", 1 << 63),
    "a.f32": 0.5,
    "a.f64": Typed("d", 1e300),
    "a.text": "다람쥐",
    "a.numbers": [1, -2, 3],
    "a.flags": [True, False],
    "a.empty": [],
    "a.words": ["x" * length for length in range(300)],
}


def failure_of(path: Path) -> str:
    with pytest.raises(LaunchdeckError) as caught:
        read_header(path)
    assert caught.value.failure.cause is Cause.MODEL_UNUSABLE
    assert caught.value.failure.advice is not None
    assert str(path) in str(caught.value.failure.message)
    return str(caught.value.failure)


@pytest.mark.parametrize("byte_order", ["little", "big"])
@pytest.mark.parametrize("version", [2, 3])
def test_reads_every_kind_of_value(tmp_path: Path, version: int, byte_order: str) -> None:
    tensors = (Tensor("one", (64, 3), "q8_0"), Tensor("two", (5,)))
    header = read_header(Gguf(VALUES, tensors, version=version, byte_order=byte_order).write(tmp_path / "m.gguf"))

    assert (header.version, header.byte_order, header.architecture) == (version, byte_order, "llama")
    assert header.metadata["a.bool"] is True
    assert header.metadata["a.text"] == "다람쥐"
    assert [header.metadata[f"a.{kind}"] for kind in ("u8", "i8", "u16", "i64", "u64", "f32", "f64")] == [
        255, -3, 65535, -(1 << 40), 1 << 63, 0.5, 1e300,
    ]  # fmt: skip
    assert header.metadata["a.numbers"] == (1, -2, 3)
    assert header.metadata["a.flags"] == (True, False)
    assert header.metadata["a.empty"] == ()
    assert "a.words" not in header.metadata
    assert header.array_lengths == {"a.numbers": 3, "a.flags": 2, "a.empty": 0, "a.words": 300}
    assert [(t.name, t.shape, t.type.name, t.n_bytes, t.shard) for t in header.tensors] == [
        ("one", (64, 3), "Q8_0", 2 * 34 * 3, 0),
        ("two", (5,), "F32", 20, 0),
    ]


@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_finds_its_way_past_large_vocabularies(tmp_path: Path, byte_order: str) -> None:
    words = [b"\0" * (i % 9) + bytes([i % 256]) * (i * 7 % 140) for i in range(20_000)]
    words[5000] = b"long" * 100_000  # more than a window of the reader
    metadata = {"tokenizer.ggml.tokens": words, "tokenizer.ggml.merges": words[::-1], "after": 7}
    header = read_header(Gguf(metadata, byte_order=byte_order).write(tmp_path / "m.gguf"))
    assert header.array_lengths == {"tokenizer.ggml.tokens": 20_000, "tokenizer.ggml.merges": 20_000}
    assert header.metadata == {"after": 7}


def test_keeps_neither_huge_strings_nor_long_arrays(tmp_path: Path) -> None:
    metadata = {"long": "x" * 100_000, "scores": [0.5] * 5000, "after": 7}
    header = read_header(Gguf(metadata).write(tmp_path / "m.gguf"))
    assert header.metadata == {"after": 7}
    assert header.array_lengths == {"scores": 5000}


def test_reads_the_real_model(demo_model: Path) -> None:
    header = read_header(demo_model)
    assert header.architecture == "llama"
    assert header.integer("llama.block_count") == 30
    assert header.array_lengths["tokenizer.ggml.tokens"] == 49152
    assert len(header.tensors) == 272
    assert header.size_bytes == demo_model.stat().st_size


def test_reads_a_70b_model_that_is_a_hole(tmp_path: Path) -> None:
    path = llama(n_layer=80, n_embd=8192, n_head=64, n_head_kv=8, n_ff=28672, n_vocab=128256).write(tmp_path / "m.gguf")
    header = read_header(path)
    assert sum(tensor.n_bytes for tensor in header.tensors) > 70_000_000_000
    assert path.stat().st_blocks < 1000


@pytest.mark.parametrize("given_shard", [0, 1, 2])
def test_any_shard_stands_for_the_whole_model(tmp_path: Path, given_shard: int) -> None:
    whole = read_header(llama().write(tmp_path / "whole.gguf"))
    paths = llama().write_split(tmp_path, "split", 3)
    header = read_header(paths[given_shard])
    assert header.path == paths[0]
    assert header.files == tuple(paths)
    assert header.size_bytes == sum(path.stat().st_size for path in paths)
    assert header.metadata.items() >= whole.metadata.items()
    assert [replace(tensor, shard=0) for tensor in header.tensors] == list(whole.tensors)
    assert [tensor.shard for tensor in header.tensors] == sorted(tensor.shard for tensor in header.tensors)
    assert {tensor.shard for tensor in header.tensors} == {0, 1, 2}


def test_names_missing_shards(tmp_path: Path) -> None:
    paths = llama().write_split(tmp_path, "split", 3)
    paths[1].unlink()
    assert "are missing: split-00002-of-00003.gguf." in failure_of(paths[0])


def test_a_renamed_shard_says_so(tmp_path: Path) -> None:
    first = llama().write_split(tmp_path, "split", 2)[0]
    assert "its name does not say which" in failure_of(first.rename(tmp_path / "model.gguf"))


def test_a_missing_file(tmp_path: Path) -> None:
    assert "There is no file" in failure_of(tmp_path / "none.gguf")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in failure_of(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "not a file" in failure_of(tmp_path / "pipe.gguf")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has no rights to take away")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = llama().write(tmp_path / "m.gguf")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything
        os.seteuid(65534)
    try:
        assert "may not be read" in failure_of(path)
    finally:
        os.seteuid(user)


def test_a_link_that_leads_to_itself(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").symlink_to(tmp_path / "m.gguf")
    assert "could not be read" in failure_of(tmp_path / "m.gguf")


HEAD = b"GGUF" + struct.pack("<I", 3)
BIG = 1 << 62
BYTES = {
    "empty": (b"", "is empty"),
    "short magic": (b"GG", "not a GGUF file"),
    "another format": (b"PK\3\4" + bytes(100), "not a GGUF file"),
    "magic alone": (b"GGUF", "ends inside its header"),
    "version 1": (b"GGUF" + struct.pack("<I", 1) + bytes(16), "version 1 of the GGUF format"),
    "version 99": (b"GGUF" + struct.pack("<I", 99) + bytes(16), "version 99 of the GGUF format"),
    "no counts": (HEAD, "ends inside its header"),
    "many tensors": (HEAD + struct.pack("<QQ", BIG, 0), f"cannot hold {BIG} tensors"),
    "many keys": (HEAD + struct.pack("<QQ", 0, BIG), f"cannot hold {BIG} keys"),
    "long key": (HEAD + struct.pack("<QQQ", 0, 1, BIG) + bytes(20), "ends inside its header"),
    "empty key": (HEAD + struct.pack("<QQQII", 0, 1, 0, 4, 4) + bytes(8), "a key is too long, empty or there twice"),
}


@pytest.mark.parametrize(("raw", "expected"), BYTES.values(), ids=BYTES.keys())
def test_damaged_beginnings(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw)
    assert expected in failure_of(path)


def value(layout: str, *numbers: int) -> bytes:
    """A file with one key `k` whose value is laid out like this, and some room behind it."""
    return HEAD + struct.pack("<QQQ", 0, 1, 1) + b"k" + struct.pack("<" + layout, *numbers) + bytes(64)


VALUES_DAMAGED = {
    "unknown type": (value("I", 13), "a value of an unknown type, 13"),
    "long string": (value("IQ", 8, BIG), "ends inside its header"),
    "array of arrays": (value("IIQ", 9, 9, 2), "a value of an unknown type, 9"),
    "array of unknown": (value("IIQ", 9, 77, BIG), "a value of an unknown type, 77"),
    "long array": (value("IIQ", 9, 4, BIG), "ends inside its header"),
    "longer than the file": (value("IIQ", 9, 4, 60), "ends inside its header"),
    "many strings": (value("IIQ", 9, 8, BIG), f"cannot hold {BIG} strings"),
    "a string too long in an array": (value("IIQQ", 9, 8, 1, BIG), "ends inside its header"),
}


@pytest.mark.parametrize(("raw", "expected"), VALUES_DAMAGED.values(), ids=VALUES_DAMAGED.keys())
def test_damaged_values(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw)
    assert expected in failure_of(path)


def test_a_hole_in_a_file_is_no_endless_list_of_strings(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(value("IIQ", 9, 8, 1 << 30))
    os.truncate(path, 16 << 30)
    assert f"cannot hold {1 << 30} strings" in failure_of(path)


def tensor(name: bytes, shape: tuple[int, ...], kind: int, offset: int, *, dimensions: int | None = None) -> bytes:
    """A file with one tensor described like this."""
    return (
        HEAD
        + struct.pack("<QQQ", 1, 0, len(name))
        + name
        + struct.pack(f"<I{len(shape)}Q", len(shape) if dimensions is None else dimensions, *shape)
        + struct.pack("<IQ", kind, offset)
        + bytes(256)
    )


TENSORS_DAMAGED = {
    "no name": (tensor(b"", (4,), 0, 0), "no proper name"),
    "a name of 64 bytes": (tensor(b"t" * 64, (4,), 0, 0), "no proper name"),
    "nine dimensions": (tensor(b"t", (1,) * 9, 0, 0), "too many dimensions"),
    "four billion dimensions": (tensor(b"t", (4,), 0, 0, dimensions=0xFFFFFFFF), "too many dimensions"),
    "unknown type": (tensor(b"t", (4,), 4, 0), "of a type that is unknown: 4"),
    "nothing in it": (tensor(b"t", (4, 0), 0, 0), "impossible shape"),
    "half a block": (tensor(b"t", (33,), 8, 0), "impossible shape"),
    "not aligned": (tensor(b"t", (4,), 0, 1), "not aligned"),
    "beyond the end": (tensor(b"t", (4,), 0, BIG), "is incomplete"),
    "larger than any disk": (tensor(b"t", (BIG, BIG), 0, 0), "is incomplete"),
}


@pytest.mark.parametrize(("raw", "expected"), TENSORS_DAMAGED.values(), ids=TENSORS_DAMAGED.keys())
def test_damaged_tensors(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(raw)
    assert expected in failure_of(path)


@pytest.mark.parametrize("alignment", [0, 3, "x"])
def test_damaged_alignment(tmp_path: Path, alignment: object) -> None:
    path = Gguf({"general.alignment": alignment}, (Tensor("t", (4,)),)).write(tmp_path / "m.gguf")
    assert "its alignment is" in failure_of(path)


def test_another_alignment(tmp_path: Path) -> None:
    model = Gguf({"general.alignment": 512}, (Tensor("a", (4,)), Tensor("b", (4,))), alignment=512)
    assert len(read_header(model.write(tmp_path / "m.gguf")).tensors) == 2


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    path = Gguf({}, (Tensor("t", (4,)), Tensor("t", (4,)))).write(tmp_path / "m.gguf")
    assert "same name" in failure_of(path)


def test_a_key_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    pair = struct.pack("<Q", 1) + b"k" + struct.pack("<II", 4, 1)
    path.write_bytes(HEAD + struct.pack("<QQ", 0, 2) + pair + pair)
    assert "there twice" in failure_of(path)


def test_an_incomplete_download_names_the_bytes(tmp_path: Path) -> None:
    path = llama().write(tmp_path / "m.gguf")
    needed = path.stat().st_size
    os.truncate(path, needed - 1000)
    assert f"it has {needed - 1000} of {needed} bytes" in failure_of(path)


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    model = llama(n_layer=1)
    path = model.write(tmp_path / "m.gguf")
    for size in range(0, len(model.header()), 7):
        path.write_bytes(model.header()[:size])
        failure_of(path)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_never_surprise(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever is overwritten: a header or a sentence, never another exception and never a large allocation."""
    raw = bytearray(Gguf(VALUES, (Tensor("one", (64, 3), "q8_0"), Tensor("two", (5,)))).header() + bytes(256))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, len(raw) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=9) | st.sampled_from([b"\xff" * 8, b"\0" * 8]))
        raw[at : at + len(piece)] = piece
    path = tmp_path / "fuzz.gguf"
    path.write_bytes(raw)
    try:
        header = read_header(path)
    except LaunchdeckError:
        failure_of(path)
    else:
        assert sum(tensor.n_bytes for tensor in header.tensors) <= len(raw)


def test_the_cache_reads_a_changed_file_again(tmp_path: Path) -> None:
    cache = HeaderCache()
    path = llama(n_layer=1).write(tmp_path / "m.gguf")
    first = cache.read(path)
    assert cache.read(path) is first
    llama(n_layer=2).write(path)
    assert cache.read(path).integer("llama.block_count") == 2


def test_the_cache_notices_a_lost_shard(tmp_path: Path) -> None:
    cache = HeaderCache()
    paths = llama().write_split(tmp_path, "split", 2)
    cache.read(paths[0])
    paths[1].unlink()
    with pytest.raises(LaunchdeckError, match=paths[1].name):
        cache.read(paths[0])


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    cache = HeaderCache(capacity=2)
    paths = [llama(n_layer=1).write(tmp_path / f"{name}.gguf") for name in "abc"]
    first = cache.read(paths[0])
    kept = [cache.read(path) for path in paths[1:]]
    assert [cache.read(path) for path in paths[1:]] == kept
    assert cache.read(paths[0]) is not first

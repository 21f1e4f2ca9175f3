"""Archives from the network: what is in them gets out, and nothing of it gets outside."""

from __future__ import annotations

import gzip
import io
import os
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from fakes.archives import tar_gz, zipped
from fakes.mutations import damaged
from launchdeck.domain.errors import Cause, LaunchdeckError
from launchdeck.engines.getting.unpack import unpack

PIECES = (b"\xff", b"\xff" * 12, b"\0" * 512, b"../outside", b"/", b"7" * 11, b"2", b"1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("mine")
    return tmp_path / "in" / "here"


def archive(folder: Path, content: bytes) -> Path:
    path = folder.parent.parent / "archive"
    path.write_bytes(content)
    return path


def test_programs_and_links_of_a_tar(folder: Path) -> None:
    content = tar_gz({"llama-b1/llama-server": "x", "llama-b1/lib.so.0": b"\0"}, {"llama-b1/lib.so": "lib.so.0"})
    unpack(archive(folder, content), folder)
    assert os.access(folder / "llama-b1" / "llama-server", os.X_OK)
    assert (folder / "llama-b1" / "lib.so").read_bytes() == b"\0"
    assert (folder / "llama-b1" / "lib.so").is_symlink()


def test_a_zip_and_files_that_belong_beside_a_program(folder: Path) -> None:
    unpack(archive(folder, zipped({"a/b/llama-server.exe": "x"})), folder)
    unpack(archive(folder, zipped({"cudart/bin/cudart64.dll": "y"})), folder / "a" / "b", flat=True)
    assert sorted(p.name for p in (folder / "a" / "b").iterdir()) == ["cudart64.dll", "llama-server.exe"]


@pytest.mark.parametrize(
    "content",
    [
        tar_gz({"../outside": "theirs"}),
        tar_gz({"/tmp/outside": "theirs"}),
        tar_gz({"a/../../outside": "theirs"}),
        tar_gz({}, {"a": "/etc/passwd"}),
        tar_gz({}, {"a": "../../outside"}),
        tar_gz({"a/f": "theirs"}, {"b/c/d": "../../../outside"}),
        zipped({"../outside": "theirs"}),
        zipped({"..\\outside": "theirs"}),
        zipped({"c:/outside": "theirs"}),
    ],
    ids=range(9),  # a name made of the bytes would be another one in every second
)
def test_nothing_leads_outside(folder: Path, content: bytes) -> None:
    with pytest.raises(LaunchdeckError, match="outside") as refusal:
        unpack(archive(folder, content), folder)
    assert refusal.value.failure.cause is Cause.START_FAILED
    assert (folder.parent.parent / "outside").read_text() == "mine"
    assert not folder.exists()


def special(kind: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        member = tarfile.TarInfo("it")
        member.type, member.linkname = kind, "../../outside"
        made.addfile(member)
    return buffer.getvalue()


def link_in_a_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        entry = zipfile.ZipInfo("it")
        entry.external_attr = 0o120777 << 16
        made.writestr(entry, "../../outside")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [special(tarfile.LNKTYPE), special(tarfile.FIFOTYPE), special(tarfile.CHRTYPE), link_in_a_zip()],
    ids=["hard link", "pipe", "device", "link in a zip"],
)
def test_what_is_no_file_is_refused(folder: Path, content: bytes) -> None:
    with pytest.raises(LaunchdeckError, match="it is no file"):
        unpack(archive(folder, content), folder)


def test_a_file_behind_a_link_is_refused(folder: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as made:
        link = tarfile.TarInfo("d/link")
        link.type, link.linkname = tarfile.SYMTYPE, "."
        made.addfile(link)
        made.addfile(tarfile.TarInfo("d/link/file"))
    with pytest.raises(LaunchdeckError, match="behind a link"):
        unpack(archive(folder, buffer.getvalue()), folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", tar_gz({"a": b"x" * 100_000})[:-60], zipped({"a": "x"})[:-9]],
    ids=["empty", "no archive", "tar", "zip"],
)
def test_a_damaged_one_is_told(folder: Path, content: bytes) -> None:
    with pytest.raises(LaunchdeckError, match="cannot be unpacked"):
        unpack(archive(folder, content), folder)


def test_the_room_for_all_of_it_is_looked_for_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(LaunchdeckError) as refusal:
        unpack(archive(folder, tar_gz({"a": b"x" * 2000})), folder)
    assert refusal.value.failure.cause is Cause.DISK_FULL
    assert not folder.exists()


def damaged_inside(valid: bytes, chance: random.Random) -> bytes:
    """Inside the compression, where there is one; now and then around it."""
    if valid[:2] == b"\x1f\x8b" and chance.random() < 0.8:
        return gzip.compress(damaged(gzip.decompress(valid), chance, PIECES), 1)
    return damaged(valid, chance, PIECES)


def test_a_damaged_archive_is_a_sentence_and_nothing_of_it_gets_outside(
    folder: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(13)
    valid = [
        tar_gz({"llama-b1/llama-server": "x" * 700, "llama-b1/lib.so.0": b"\0" * 30}, {"llama-b1/lib.so": "lib.so.0"}),
        zipped({"a/b/llama-server": "x" * 700, "a/lib.so": "y"}),
    ]
    count = sentences = 0
    for _ in range(600):
        for content in valid:
            count += 1
            try:
                unpack(
                    archive(folder, damaged_inside(content, chance)), folder / str(count), flat=chance.random() < 0.2
                )
            except LaunchdeckError:
                sentences += 1
    record_property("fuzzed", f"archives of engines: {count} inputs, {sentences} told in a sentence")
    assert 0 < sentences < count
    root = folder.parent.parent
    assert sorted(path.name for path in root.iterdir()) == ["archive", "in", "outside"]
    assert [path.name for path in folder.parent.iterdir()] == ["here"]
    assert (root / "outside").read_text() == "mine"
    for path in folder.rglob("*"):
        assert folder in path.resolve().parents


def test_a_name_that_no_file_can_have_is_not_told_as_a_full_disk(folder: Path) -> None:
    with pytest.raises(LaunchdeckError, match="File name too long") as refusal:
        unpack(archive(folder, zipped({"x" * 300: "y"})), folder)
    assert refusal.value.failure.cause is not Cause.DISK_FULL

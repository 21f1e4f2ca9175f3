"""JSON files of ours: what is broken is kept, and what could not be read is never written over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fakes.confined import run_confined
from launchdeck.files.aside import is_aside, set_aside
from launchdeck.files.json_file import JsonFile


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "below" / "x.json")
    assert file.read() == {}
    file.write({"가": [1, None]})
    assert JsonFile(file.path).read() == {"가": [1, None]}
    assert file.path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"a": NaN}'])
def test_a_broken_file_is_set_aside_and_told(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    file = JsonFile(tmp_path / "x.json")
    file.path.write_bytes(content)
    assert file.read() == {}
    assert (tmp_path / "x.json.corrupt").read_bytes() == content
    assert "x.json.corrupt" in caplog.text
    file.write({"a": 1})
    assert JsonFile(file.path).read() == {"a": 1}


def test_no_broken_file_takes_the_place_of_another(tmp_path: Path) -> None:
    names = set()
    for number in range(12):
        (tmp_path / "x").write_text(str(number))
        names.add(set_aside(tmp_path / "x").name)
    assert names == {"x.corrupt", *(f"x.corrupt-{number}" for number in range(2, 13))}
    assert sorted(int((tmp_path / name).read_text()) for name in names) == list(range(12))
    assert all(map(is_aside, names))
    assert not is_aside("x")


@pytest.mark.timeout(20)
def test_a_pipe_in_its_place_is_kept_when_it_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = JsonFile(tmp_path / "x.json")
    os.mkfifo(file.path)
    assert file.read() == {}
    assert "cannot be read" in caplog.text
    file.write({"a": 1})
    assert (tmp_path / "x.json.corrupt").is_fifo()
    assert JsonFile(file.path).read() == {"a": 1}


def test_a_file_that_vanished_meanwhile_is_no_hindrance(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "x.json")
    file.path.write_text('{"a": 1}')
    file.read()
    file.keep_before_writing()
    file.path.unlink()
    file.write({"b": 2})
    assert JsonFile(file.path).read() == {"b": 2}


def test_what_could_not_be_read_is_not_lost_by_writing(tmp_path: Path) -> None:
    """As somebody whom permissions bind."""
    script = tmp_path / "script.py"
    script.write_text(_UNREADABLE)
    assert run_confined(script, tmp_path).splitlines() == ["{}", "kept"]
    assert (tmp_path / "x.json.corrupt").read_text() == '{"precious": 1}'


_UNREADABLE = """
import sys
from pathlib import Path
from launchdeck.files.json_file import JsonFile
file = JsonFile(Path(sys.argv[1]) / "x.json")
file.path.write_text('{"precious": 1}')
file.path.chmod(0)
print(file.read())
file.write({"new": 2})
kept = Path(sys.argv[1]) / "x.json.corrupt"
kept.chmod(0o600)
print("kept" if kept.exists() else "lost")
"""


def test_in_a_folder_that_cannot_be_written_nothing_raises_and_nothing_is_lost(tmp_path: Path) -> None:
    """A broken file is left where it is; only writing is refused."""
    script = tmp_path / "script.py"
    script.write_text(_READ_ONLY)
    assert run_confined(script, tmp_path).splitlines() == ["{}", "() []", "refused"]


_READ_ONLY = """
import sys
from pathlib import Path
from launchdeck.files.json_file import JsonFile
from launchdeck.serving.records.records import read_records
from launchdeck.serving.requests.request_memory import RequestMemory
from launchdeck.serving.requests.start_list import StartList
folder = Path(sys.argv[1]) / "state"
(folder / "deployments" / "00000001").mkdir(parents=True)
record = folder / "deployments" / "00000001" / "record.json"
for file in (folder / "x.json", folder / "requests.json", folder / "start.json", record):
    file.write_text("{broken")
for place in (folder, record.parent):
    place.chmod(0o500)
told = []
print(JsonFile(folder / "x.json").read())
memory = RequestMemory(folder / "requests.json")
assert StartList(folder / "start.json").requests == ()
print(memory.preset_names, read_records(folder / "deployments", told.append))
assert len(told) == 1
try:
    JsonFile(folder / "x.json").write({"a": 1})
except OSError:
    print("refused")
for place in (folder, record.parent):
    place.chmod(0o700)
assert (folder / "x.json").read_text() == "{broken"
"""


def test_what_there_is_to_tell_is_a_sentence(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "x.json")
    assert (file.read(), file.problem) == ({}, None)
    file.path.write_text("{")
    file.read()
    assert "it is kept as x.json.corrupt" in str(file.problem)

"""Reading what anybody may have written: files and nothing else, with an end to everything."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.confined import run_confined
from launchdeck.files.looking import expanded, is_file, is_folder, is_there, real
from launchdeck.files.reading import DEPTH_LIMIT, NotRegularError, open_regular, parse_json, read_bytes, read_json


def make(kind: str, place: Path) -> None:
    match kind:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(place))
        case "device":
            place.symlink_to("/dev/zero")
        case "link to a pipe":
            os.mkfifo(place.with_name("pipe"))
            place.symlink_to(place.with_name("pipe"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "device", "link to a pipe"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, kind: str) -> None:
    make(kind, tmp_path / "x")
    with pytest.raises(NotRegularError, match="not a file"):
        open_regular(tmp_path / "x")
    with pytest.raises(OSError, match="not a file"):
        read_json(tmp_path / "x")


@pytest.mark.parametrize("name", ["none", "x" * 300, "a\0b", "\ud800", "circle"])
def test_a_path_that_leads_nowhere_is_an_os_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    path = tmp_path / name
    with pytest.raises(OSError, match="rrno"):
        read_bytes(path)
    assert not any(look(path) for look in (is_file, is_folder, is_there))
    assert real(path).name == name


def test_a_link_to_a_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    (tmp_path / "link").symlink_to("file")
    assert read_json(tmp_path / "link") == {}
    assert real(tmp_path / "link") == real(tmp_path) / "file"


def test_what_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"7" * 100)
    assert read_bytes(tmp_path / "x", 100) == b"7" * 100
    with pytest.raises(ValueError, match="more than 99 bytes"):
        read_bytes(tmp_path / "x", 99)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 900 + "]" * 900,
        "[" * (DEPTH_LIMIT + 1) + "]" * (DEPTH_LIMIT + 1),
        "NaN",
        '{"a": [Infinity]}',
        "-Infinity",
        "1e999",
        "1" + "0" * 400,
        "9" * 5000,
        str(2**63),
        r'"\ud800"',
        r'{"\udfff": 1}',
    ],
)
def test_json_that_nobody_can_use_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_json(text)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) < 300


def test_ours_may_name_files_whose_names_are_no_text() -> None:
    name = os.fsdecode(b"\xff\xfe")
    assert parse_json(json.dumps([name])) == [name]
    with pytest.raises(ValueError, match="surrogates"):
        parse_json(json.dumps([name]), foreign=True)


def test_a_link_that_may_not_be_read_leads_to_itself(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_UNREADABLE)
    assert run_confined(script, tmp_path) == "True\n"


_UNREADABLE = """
import sys
from pathlib import Path
from fakes.confined import run_confined
from launchdeck.files.looking import real
folder = Path(sys.argv[1]).resolve()
(folder / "shut").mkdir()
(folder / "shut" / "link").symlink_to("../script.py")
(folder / "link").symlink_to("shut/link")
(folder / "shut").chmod(0)
places = [folder / "link", folder / "shut" / "link", Path("/proc/1/root/x")]
print(all(real(place).is_absolute() for place in places))
(folder / "shut").chmod(0o700)
"""


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=20,
    )
)  # fmt: skip
def test_all_other_json_is_what_it_is(value: object) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_a_home_that_nobody_has_is_no_error() -> None:
    assert expanded("~/x") == Path(os.environ.get("HOME", os.path.expanduser("~"))) / "x"  # noqa: PTH111
    assert expanded("~nobody-of-this-name/x").name == "x"

"""Other programs' stores are found where their owners moved them, as those programs find them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launchdeck.models.stores import hugging_face_cache, stores

HUGGING_FACE: list[dict[str, str]] = [
    {},
    {"XDG_CACHE_HOME": "/x/cache"},
    {"XDG_CACHE_HOME": "~/cache"},
    {"XDG_CACHE_HOME": "$PLACE/cache"},
    {"HF_HOME": "/x/hf"},
    {"HF_HOME": "~/hf", "XDG_CACHE_HOME": "/y"},
    {"HF_HOME": "~"},
    {"HF_HOME": "${PLACE}/hf"},
    {"HF_HOME": "$NOT_SET/hf"},
    {"HF_HOME": "/x/~/$PLACE"},
    {"HUGGINGFACE_HUB_CACHE": "/x/older"},
    {"HUGGINGFACE_HUB_CACHE": "~/older/$NAME", "HF_HOME": "/x/hf"},
    {"HF_HUB_CACHE": "~/newer", "HUGGINGFACE_HUB_CACHE": "/x/older"},
    {"HF_HUB_CACHE": "$PLACE/$NAME-1/${NAME}"},
    {"HF_HUB_CACHE": "${INDIRECT}"},
    {"HF_HUB_CACHE": "~nobody-has-this-name/x"},
    {"HF_HUB_CACHE": "~root/x"},
    {"HF_HUB_CACHE": "relative/$"},
]
COMMON = {"HOME": "/home/me", "PLACE": "/mnt/big", "NAME": "models", "INDIRECT": "$PLACE"}


def test_hugging_faces_cache_is_where_its_own_library_has_it() -> None:
    script = (
        "import importlib, json, os, sys\nfrom huggingface_hub import constants\nfound = []\n"
        "for environ in json.loads(sys.argv[1]):\n"
        "    os.environ.clear(); os.environ.update(environ); importlib.reload(constants)\n"
        "    found.append(constants.HF_HUB_CACHE)\n"
        "print(json.dumps(found))"
    )
    environs = [COMMON | environ for environ in HUGGING_FACE]
    command = [sys.executable, "-c", script, json.dumps(environs)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [hugging_face_cache(environ) for environ in environs] == list(map(Path, json.loads(answer.stdout)))


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("  /mnt/ollama ", "/mnt/ollama"),
        ("'/mnt/ollama'", "/mnt/ollama"),
        (' "/mnt/ollama" ', "/mnt/ollama"),
        ("~/ollama", "/home/me/ollama"),
        ("$PLACE/ollama", "/mnt/big/ollama"),
        ("$OTHER/ollama", "$OTHER/ollama"),
        ('""', "/home/me/.ollama/models"),
    ],
)
def test_ollamas_folder_is_what_ollama_makes_of_its_variable(value: str, place: str) -> None:
    assert Path(place) in set(stores(COMMON | {"OLLAMA_MODELS": value}))


def test_ollama_expands_nothing_so_a_folder_of_just_this_name_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~" / "ollama").mkdir(parents=True)
    found = set(stores(COMMON | {"OLLAMA_MODELS": "~/ollama"}))
    assert Path("~/ollama") in found
    assert Path("/home/me/ollama") not in found


class TestLmStudio:
    def found(self, home: Path) -> set[Path]:
        return set(stores({"HOME": str(home)}))

    def test_its_downloads_were_moved(self, tmp_path: Path) -> None:
        (tmp_path / ".lmstudio").mkdir()
        (tmp_path / ".lmstudio/settings.json").write_text(json.dumps({"downloadsFolder": "/mnt/lm"}))
        assert {Path("/mnt/lm"), tmp_path / ".lmstudio/models"} <= self.found(tmp_path)

    def test_its_home_was_moved(self, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "settings.json").write_text(json.dumps({"downloadsFolder": "/mnt/lm"}))
        (tmp_path / ".lmstudio-home-pointer").write_text(f"{elsewhere}\n")
        assert {Path("/mnt/lm"), elsewhere / "models"} <= self.found(tmp_path)

    @pytest.mark.parametrize(
        "settings", ["", "[]", "{", '{"downloadsFolder": 7}', '{"downloadsFolder": "here"}', "[" * 100_000, b"\xff\xfe"]
    )
    def test_damaged_settings_cost_nothing_else(self, tmp_path: Path, settings: Any) -> None:
        (tmp_path / ".lmstudio").mkdir()
        data = settings.encode() if isinstance(settings, str) else settings
        (tmp_path / ".lmstudio/settings.json").write_bytes(data)
        assert tmp_path / ".lmstudio/models" in self.found(tmp_path)

    @pytest.mark.parametrize("pointer", [b"", b"here", b"\xff", b"/a\0b", b"x" * (2 << 20)])
    def test_a_damaged_pointer_costs_nothing_else(self, tmp_path: Path, pointer: bytes) -> None:
        (tmp_path / ".lmstudio-home-pointer").write_bytes(pointer)
        assert tmp_path / ".lmstudio/models" in self.found(tmp_path)

    def test_a_pipe_for_a_file_holds_up_nobody(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / ".lmstudio-home-pointer")
        (tmp_path / ".lmstudio").mkdir()
        os.mkfifo(tmp_path / ".lmstudio" / "settings.json")
        assert tmp_path / ".lmstudio/models" in self.found(tmp_path)


def test_jan_keeps_its_models_with_its_data() -> None:
    assert Path("/home/me/.local/share/Jan/data/llamacpp/models") in set(stores(COMMON))

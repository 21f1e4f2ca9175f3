"""What is listed as a model of the library's folders can be loaded, however its folder was named."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import api
from fakes.gguf_models import llama

SPELLINGS = (
    "~/llms", "~/llms/", "~//llms", "~/llms/.", "~/llms/../llms", "~/way/../llms", "~/linked", "~/linked/",
    "{home}/llms", "llms", "./llms", "../{name}/llms", "~/linked/below",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `~` is, and where the application was started; a model lies in a folder there, to which a link leads."""
    place = tmp_path / "home"
    (place / "llms" / "below").mkdir(parents=True)
    (place / "way").mkdir()
    llama(n_layer=5).write(place / "llms" / "below" / "tiny.gguf")
    (place / "linked").symlink_to(place / "llms")
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.chdir(place)
    return place


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_is_listed_can_be_loaded(home: Path, spelling: str) -> None:
    folder = spelling.format(home=home, name=home.name)

    async def scenario() -> None:
        async with api.running(model_folders=(folder,)) as (_bench, http):
            listed = (await http.get("/api/management/models")).json()["models"]
            paths = [model["path"] for model in listed if model["path"].endswith("tiny.gguf")]
            assert len(paths) == 1, listed
            body = {"model_path": paths[0], "gpu_indices": [], "n_ctx": 128}
            answer = await http.post("/api/inference/plan", json=body)
            assert answer.status_code == 200, answer.text

    api.run(scenario)


@pytest.mark.parametrize("named", ["~/llms/x.gguf", "llms/x.gguf", "{home}/llms/../llms/x.gguf"])
def test_a_request_names_a_full_path(home: Path, named: str) -> None:
    async def scenario() -> None:
        async with api.running(model_folders=("~/llms",)) as (_bench, http):
            answer = await http.post("/api/inference/plan", json={"model_path": named.format(home=home)})
            assert answer.status_code == 400
            assert "absolute path" in answer.json()["detail"]

    api.run(scenario)

"""Every widget test starts in English and in the dark theme; some have the deploy form on the real planner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakes import gguf_models, samples
from launchdeck.engines.planner import Planner
from launchdeck.models.describe import inspect
from launchdeck.settings.schema import Settings
from launchdeck.ui.deploy.deploy_form import DeployForm
from launchdeck.ui.kit import i18n, theme
from qt.form_driver import ENGINE, ONE_GPU, PORT, WORKER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PySide6.QtWidgets import QApplication


@pytest.fixture(autouse=True)
def _usual_looks(qapp: QApplication) -> Iterator[None]:
    i18n.set_language("en")
    theme.apply(qapp, "dark")
    yield
    i18n.set_language("en")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def big(folder):
    """A 14B model without data: 41 layers, about 8 GiB, a context of 40,960."""
    shape = {"n_layer": 40, "n_embd": 5120, "n_head": 40, "n_head_kv": 8, "n_ff": 17408, "head_dim": 128}
    file = gguf_models.llama(architecture="qwen3", n_vocab=151936, n_ctx=40960, quant="q4_k", head_norm=True, **shape)
    return inspect(file.write(folder / "qwen3-14b.gguf"))


@pytest.fixture(scope="module")
def small(folder):
    """2 blocks, a context of 4,096."""
    return inspect(gguf_models.llama().write(folder / "tiny.gguf"))


@pytest.fixture(scope="module")
def broken(folder):
    path = folder / "broken.gguf"
    path.write_bytes(b"not a model")
    return inspect(path)


@pytest.fixture
def planner(big, small):
    planner = Planner(lambda: Settings(rpc_workers=(WORKER,)))
    planner.inventory = ONE_GPU
    planner.engines = (ENGINE, samples.EMBEDDED)
    for model in (big, small):
        planner.prepare(model.path)
    return planner


@pytest.fixture
def form(qtbot, planner, big, small, broken):
    """As the application fills it, on the real planner."""
    form = DeployForm(lambda request: planner.preview(request, PORT))
    qtbot.addWidget(form)
    form.resize(350, 800)
    form.set_models((big, small, broken))
    form.set_engines(planner.engines)
    form.set_inventory(ONE_GPU)
    form.show()
    qtbot.waitExposed(form)
    return form

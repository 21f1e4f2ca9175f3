"""What comes while something is open: a row that goes, a first reading of the GPUs, a second search for engines."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from e2e.window import in_real_window, quick_settings, until
from fakes import llama_server
from fakes.samples import two_gpus
from launchdeck.core import Core
from launchdeck.domain.deployment import State
from launchdeck.domain.plan import EngineKind
from launchdeck.domain.request import CPU_ONLY, ModelLoadRequest
from launchdeck.models import hub
from launchdeck.network.remote_file import NamedFile, RemoteFile
from launchdeck.ui.application import WindowApplication
from launchdeck.ui.library.download_dialog import DownloadDialog
from launchdeck.ui.library.library_dialog import LibraryDialog


def test_a_row_that_goes_while_its_menu_is_open_is_told(demo_model: Path) -> None:
    async def journey(application: WindowApplication, core: Core) -> None:
        request = ModelLoadRequest(demo_model, gpu_uuids=CPU_ONLY, n_ctx=512, engine_id=str(EngineKind.EMBEDDED))
        deployment = await core.manager.load(request)
        await until(lambda: core.manager.deployment(deployment.id).state is State.RUNNING, "the model")
        view, notice = application.panels.deployments, application.window.notice
        shown = core.manager.deployment(deployment.id)
        menus = [view.menu_for(shown)]
        await core.manager.stop(deployment.id)
        menus.append(view.menu_for(core.manager.deployment(deployment.id)))
        core.manager.dismiss(deployment.id)
        assert view.current() is None
        for menu in menus:
            for action in menu.actions():
                if not action.isSeparator():
                    notice.hide()
                    action.trigger()
                    await until(notice.isVisible, f"what became of {action.text()}", 5)
                    assert deployment.id in notice.text
        assert core.manager.start_list.requests == ()

    in_real_window(journey, quick_settings())


def test_dialogs_that_were_opened_before_the_first_reading_learn_of_it(demo_model: Path) -> None:
    async def journey(application: WindowApplication, core: Core) -> None:
        application.sampler.stop()
        core.planner.inventory = None
        application.library.open_library()
        application.library.open_downloads()
        downloads = application.window.findChild(DownloadDialog)
        library = application.window.findChild(LibraryDialog)
        file = NamedFile("one.gguf", RemoteFile("https://them/one", 1 << 30))
        downloads._set_choices([hub.Choice("them/one", "one.gguf", (file,))])
        assert "GPU" not in downloads.files.item(0).text()
        application.library.show_inventory(two_gpus())
        assert "GPU" in downloads.files.item(0).text()
        await until(lambda: library.table.model().rowCount() > 0, "the models")
        column = library.table.model().columnCount() - 1
        assert "GPU" in " ".join(str(library.table.model().index(0, one).data()) for one in range(column + 1))

    in_real_window(journey, quick_settings())


def test_the_engines_are_those_that_were_looked_for_last(tmp_path: Path) -> None:
    for name in ("slow", "fast"):
        (tmp_path / name).mkdir()
    slow, fast = (llama_server.install(tmp_path / name) for name in ("slow", "fast"))
    slow.write_text(slow.read_text().replace("exec ", "sleep 1\nexec "))

    async def journey(application: WindowApplication, core: Core) -> None:
        first = core.setup.settings
        searches = []
        for program in (slow, fast):
            core.setup.store.save(replace(first, llama_server_path=str(program)))
            searches.append(asyncio.ensure_future(application.discovery.look()))
            await asyncio.sleep(0.1)
        await asyncio.gather(*searches)
        engines = [engine.path for engine in core.planner.engines or ()]
        assert fast in engines
        assert slow not in engines

    in_real_window(journey, quick_settings())

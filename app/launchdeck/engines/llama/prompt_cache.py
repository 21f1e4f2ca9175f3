"""How much RAM llama-server may keep prompts in, whose states it takes up again when they are asked once more.

Where nobody says it is 8 GiB for each server, filled little by little. So it is always said, and counted.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from launchdeck.domain.model import ServerType
from launchdeck.domain.text import Message
from launchdeck.domain.units import MIB
from launchdeck.engines.llama.argv import CACHE_RAM

if TYPE_CHECKING:
    from launchdeck.domain.plan import DeviceEstimate, EngineInfo, Estimate
    from launchdeck.domain.request import ModelLoadRequest

MOST_MIB = 1 << 20
_USUAL_MIB = 8192
_SHARE = 4
# In such steps, so that the command stays the same while the free memory moves a little.
_STEP_MIB = 256
_NUMBER = re.compile(r"[0-9]{1,9}")


def asked(request: ModelLoadRequest) -> int | str | None:
    """The size that was asked for, be it as an argument of an expert's own (which older versions had alone), of which
    the last one counts: as it was typed, so it need be none.
    """
    said = [value for flag, value in pairwise(request.extra_args) if flag == CACHE_RAM]
    return said[-1] if said else request.cache_ram_mib


def asked_mib(request: ModelLoadRequest) -> int | None:
    """The same in MiB; None where none was asked for, or none that can be."""
    size = asked(request)
    mib = int(size) if isinstance(size, str) and _NUMBER.fullmatch(size) else size
    return mib if isinstance(mib, int) and 0 <= mib <= MOST_MIB else None


def unasked(request: ModelLoadRequest) -> dict[str, Any]:
    """What has to change in the request for none to be asked for."""
    words = request.extra_args
    if CACHE_RAM not in words:
        return {"cache_ram_mib": None}
    said = {place + more for place, word in enumerate(words) if word == CACHE_RAM for more in (0, 1)}
    return {
        "cache_ram_mib": None,
        "extra_args": tuple(word for place, word in enumerate(words) if place not in said),
    }


def resolved_mib(
    request: ModelLoadRequest, engine: EngineInfo, host: DeviceEstimate, *, on_workers: bool
) -> int | None:
    """MiB; None where the engine has no such option: then it keeps no prompts. What is left to us never takes more than
    is there: a quarter of the RAM that is free and promised to nobody, so that several models share it.

    0 for embeddings: idle slots are saved there too (b10605: 31 MiB for each text of 1390 tokens), and never taken up
    again. 0 with RPC workers: their devices cannot save a slot, and the engine would end.
    """
    if on_workers or request.server_type is ServerType.EMBEDDING:
        return 0
    asked = asked_mib(request)
    if engine.flags and CACHE_RAM not in engine.flags:
        return asked or None
    if asked is not None:
        return asked
    free = host.free_bytes
    if free is None:
        return 0
    spare_mib = min(_USUAL_MIB, free // _SHARE // MIB, (free - host.total_bytes) // MIB)
    return max(spare_mib // _STEP_MIB * _STEP_MIB, 0)


def counted(estimate: Estimate, cache_mib: int | None) -> Estimate:
    """The estimate with the cache as full as it may get."""
    if not cache_mib:
        return estimate
    return replace(estimate, host=replace(estimate.host, overhead_bytes=cache_mib * MIB))


def warnings_of_cache(request: ModelLoadRequest, *, on_workers: bool) -> tuple[Message, ...]:
    """That a size was asked for where no prompts are kept."""
    if not asked_mib(request):
        return ()
    if on_workers:
        return (Message("No prompts are kept where RPC workers are used: to save them would end the engine."),)
    if request.server_type is ServerType.EMBEDDING:
        return (Message("No prompts are kept where embeddings are served: the prompt cache stays off."),)
    return ()

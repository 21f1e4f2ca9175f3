from __future__ import annotations

from fakes.serving import no_process_left

__all__ = ["no_process_left"]

"""Real processes are started here as well: none may outlive its test."""

from fakes.serving import no_process_left

__all__ = ["no_process_left"]

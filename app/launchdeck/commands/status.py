"""`launchdeck status`: what runs, asked straight of the shims."""

from __future__ import annotations

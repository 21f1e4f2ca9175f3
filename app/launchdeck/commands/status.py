"""`launchdeck status`: what runs, asked straight of the shims."""

from __future__ import annotations

import argparse

from launchdeck.commands.output import print_json, print_line, print_table

"""The engines found, and those to be got."""

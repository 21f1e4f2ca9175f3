"""The commands, one a file; each has `run(options) -> exit status`."""

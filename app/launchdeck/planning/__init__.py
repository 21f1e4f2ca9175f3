"""The arithmetic before a launch: memory, ports, placement. Pure functions."""

"""HTTP on the loopback: the same request, the same planner and the same manager as the window's."""

"""Whether an engine is ready, works, or hangs."""

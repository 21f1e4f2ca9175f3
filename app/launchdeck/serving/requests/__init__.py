"""What was asked for and is kept: the last request of a model, presets, what starts with Launchdeck."""

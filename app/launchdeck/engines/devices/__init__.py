"""Which device of an engine is which GPU, and what a launch may take of it."""

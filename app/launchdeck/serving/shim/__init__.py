"""A model's supervisor, in a process of its own. It knows the standard library alone, and outlives the application."""

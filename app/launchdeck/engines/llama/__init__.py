"""llama-server and the built-in engine: what they can, their arguments, their log, their own accounting."""

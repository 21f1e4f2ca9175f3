"""vLLM: finding it, its arguments, what its log means."""

"""What vLLM will take."""

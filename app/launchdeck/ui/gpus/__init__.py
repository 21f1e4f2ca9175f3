"""The cards of the GPUs and of the CPU, and how they were detected."""

"""Launchdeck deploys language and embedding models on local GPUs."""

__version__ = "0.1.0"

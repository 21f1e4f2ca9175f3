"""Sampling on a worker thread, and the history the charts draw."""

"""What shims and launches have written down, read back with as little trust as any file."""

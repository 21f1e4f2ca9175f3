"""Models on disk: their headers, and where they are found."""

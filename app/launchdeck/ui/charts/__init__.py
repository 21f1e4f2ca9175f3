"""The curves over time, their legend and their export."""

"""PyTorch, asked in a process of its own, for a vendor of which nothing else found a GPU."""

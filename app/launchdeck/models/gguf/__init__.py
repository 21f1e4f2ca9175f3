"""GGUF: a header read from its bytes, and the types of its tensors."""

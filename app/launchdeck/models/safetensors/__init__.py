"""Folders of safetensors: config.json, the tensors and their shapes."""

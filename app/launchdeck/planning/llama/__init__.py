"""What llama.cpp will take: weights, KV cache, compute buffers, and how many layers fit."""

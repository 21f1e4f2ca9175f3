"""llama.cpp's compute graph played through: what a layer computes in which order, and where each result lies."""

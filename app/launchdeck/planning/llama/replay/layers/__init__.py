"""What each kind of layer computes, step by step, as llama.cpp builds its graph."""

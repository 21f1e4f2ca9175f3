"""What llama.cpp's architectures are: a row each (`table`), in words that the code asks for (`traits`)."""

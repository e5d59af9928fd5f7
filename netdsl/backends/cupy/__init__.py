"""A Program on an NVIDIA GPU, through CuPy, cuDNN and CUDA graphs."""

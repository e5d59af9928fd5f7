"""Our CUDA kernels: their text, made for one type and shape, and how they are launched."""

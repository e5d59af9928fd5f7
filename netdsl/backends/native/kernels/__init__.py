"""Kernels: each file writes the LLVM IR of one family of steps."""

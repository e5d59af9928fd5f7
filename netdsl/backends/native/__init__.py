"""The native back-end: a Program as machine code for the processor at hand, generated through LLVM."""

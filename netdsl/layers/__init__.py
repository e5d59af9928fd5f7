"""The layers: what the mathematics of each operation fixes, one file a family; `vocabulary` lists them all."""

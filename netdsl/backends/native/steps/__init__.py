"""Steps: which kernel does a layer's work, on which memory, in how many units."""

"""Training Programs in NumPy."""

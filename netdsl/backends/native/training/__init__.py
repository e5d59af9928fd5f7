"""Training Programs on native code."""

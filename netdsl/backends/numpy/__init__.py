"""A Program in plain NumPy: always there, and the yardstick for the speed of the others."""

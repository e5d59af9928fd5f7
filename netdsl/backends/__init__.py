"""Back-ends: what runs a network."""

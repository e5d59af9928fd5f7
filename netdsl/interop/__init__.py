"""Other people's formats for whole networks."""

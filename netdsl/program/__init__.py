"""From a network with values to a Program: order, lifetimes, one arena."""

"""The training Program: forward steps, the loss, backward steps in reverse, over one arena."""

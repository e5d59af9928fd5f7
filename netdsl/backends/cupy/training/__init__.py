"""A training Program on a device: the steps of a batch, the loss, the optimiser; master weights in float32."""

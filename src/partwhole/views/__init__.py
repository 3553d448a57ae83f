"""What the network sees: crops, resampling and photometric changes, batched on the device, each with its own parameters a sample."""

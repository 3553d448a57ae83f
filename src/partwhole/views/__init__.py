"""What the network sees: crops, resampling and photometric changes, batched on the device, with parameters
for each sample.
"""

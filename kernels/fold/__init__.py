"""Kernels of ConvTranspose: a product, whose results are added up where the kernel's taps fall."""

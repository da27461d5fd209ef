"""The Numba backend's kernels: the NumPy backend with the operators that take time compiled by Numba (README.md)."""

"""Operators and the kernels that run them: C++ per ISA level, and NumPy. Needs NumPy alone."""

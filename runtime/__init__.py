"""Loads a ``.thin`` file and runs it, still compressed. Needs NumPy alone."""

"""The ``.thin`` file and what lies in it: graph, encoded tensors, coders, container. Needs NumPy alone."""

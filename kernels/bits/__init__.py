"""One row of integer activations times weights of few bits."""

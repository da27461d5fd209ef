"""Kernels of RNN, LSTM and GRU."""

"""Measures Thinfer beside its dense self and beside its peers."""

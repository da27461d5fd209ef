"""How each peer converts a case's model to its own format, loads it and runs it: one module per peer, run in the peer's own environment.

Nothing here imports Thinfer but ``thinfer.py``: a peer's environment holds the peer and what converts to its format, nothing else.
"""

"""Turns a trained model into a ``.thin`` file, and reports what that cost and gained."""

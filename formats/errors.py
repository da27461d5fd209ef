"""Every way in which a ``.thin`` file can be wrong, one class each.

A message says what was found, where (byte offset or tensor name) and what would be right.
"""


class ThinferError(Exception):
    """Base of every error that a user's input can cause; its text is one sentence meant for people."""


class GraphError(ThinferError, ValueError):
    """A graph is structurally inconsistent; the message lists every problem found."""


class FormatError(ThinferError, ValueError):
    """A file is not a well-formed ``.thin`` file. Each failure that SPEC.md names has its own subclass."""

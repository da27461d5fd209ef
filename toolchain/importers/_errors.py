"""What can be wrong with a model that someone hands in, one class each; every message is one sentence meant for people."""

from __future__ import annotations

from ...formats.errors import ThinferError


class ModelError(ThinferError, ValueError):
    """A model cannot be imported."""


class MissingModel(ModelError):
    """There is no readable file at the path."""


class UnreadableModel(ModelError):
    """The file is empty, truncated, or no model of a known kind."""


class UnsupportedModel(ModelError):
    """The file is a model, but of a kind, opset or data type that is not supported."""


class UntrustedModel(ModelError):
    """Loading the file would run code that it contains, and the caller has not allowed that."""


class InputShapeError(ModelError):
    """The input shapes that the caller gave do not fit the model, or are lacking."""


class ArchitectureError(ModelError):
    """A state dict lacks its architecture, or the one given does not fit it."""

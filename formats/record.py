"""Dataclasses that cost nothing to define.

``dataclasses`` writes the source of each class's methods and compiles it when the module is imported: half a millisecond a class, a third of the time
from a fresh process to a first output. These share one method of each kind. They know ``frozen`` and ``eq``, fields with defaults and factories,
``replace``; ``dataclasses.asdict`` and ``fields`` work on them too. Type checkers see the real ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
else:
    class _Factory:
        """A default that is made anew for each instance."""

        def __init__(self, make):
            self.make = make

    _NONE = object()

    def field(*, default_factory):
        return _Factory(default_factory)

    def dataclass(*, frozen=False, eq=True):
        """As ``dataclasses.dataclass``: fields are what is annotated in the class, in order."""

        def decorate(cls):
            names = tuple(cls.__annotations__)
            cls._fields = names
            defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
            for name, default in defaults.items():
                if isinstance(default, _Factory):
                    delattr(cls, name)
            cls.__init__ = _init(cls, names, defaults)
            cls.__repr__ = _repr
            cls.__dataclass_fields__ = _RealFields(defaults)
            if frozen:
                cls.__setattr__ = _refuse
                cls.__delattr__ = _refuse
            if eq:
                cls.__eq__ = _eq
                cls.__hash__ = _hash if frozen else None
            return cls

        return decorate

    def replace(record, /, **changes):
        """A copy with some fields changed."""
        held = record.__dict__
        return type(record)(*[changes.pop(name) if name in changes else held[name] for name in record._fields], **changes)

    def _init(cls, names, defaults):
        count, tails = len(names), _tails(names, defaults)

        def __init__(self, *args, **given):
            values = self.__dict__
            if len(args) < count and not given:
                args += tails.get(len(args), ())
            if len(args) < count or given:
                rest = names[len(args):]
                args += tuple([given.pop(name) if name in given else _default(cls, name, defaults) for name in rest])
            if given or len(args) > count:
                raise TypeError(f"{cls.__name__}() takes {', '.join(names)}; {', '.join(given) or 'more'} is too much")
            values.update(zip(names, args))

        return __init__

    def _tails(names, defaults):
        """How many fields are given → what the others have without them, where that is the same for each instance."""
        found, rest = {}, ()
        for place in range(len(names) - 1, -1, -1):
            if isinstance(default := defaults.get(names[place], _NONE), _Factory) or default is _NONE:
                break
            rest = (default, *rest)
            found[place] = rest
        return found

    def _default(cls, name, defaults):
        if name not in defaults:
            raise TypeError(f"{cls.__name__}() is missing {name}")
        found = defaults[name]
        return found.make() if isinstance(found, _Factory) else found

    def _repr(self):
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    def _refuse(self, name, *value):
        raise AttributeError(f"a {type(self).__name__} cannot be changed: {name}")

    def _eq(self, other):
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    def _hash(self):
        return hash(tuple([getattr(self, name) for name in self._fields]))

    class _RealFields:
        """What ``dataclasses`` looks for, made when it does."""

        def __init__(self, defaults):
            self._defaults = defaults

        def __get__(self, instance, owner):
            import dataclasses

            annotations = {name: Any for name in owner._fields}
            made = dataclasses.make_dataclass(owner.__name__, annotations.items())
            return made.__dataclass_fields__


__all__ = ["dataclass", "field", "replace"]

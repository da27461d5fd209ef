"""Dataclasses that cost nothing to define.

``dataclasses`` writes the source of each class's methods and compiles it when the module is imported: half a millisecond a class, a third of the time
from a fresh process to a first output. These share one method of each kind, but for ``__init__``: a copy of one that was compiled for as many fields
(at most 14), with their names. They know ``frozen`` and ``eq``, fields with defaults and factories, ``replace``; ``dataclasses.asdict`` and
``fields`` work on them too. Type checkers see the real ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
    from functools import cached_property
else:
    from types import FunctionType

    class cached_property:
        """As ``functools.cached_property``, which before Python 3.12 takes a lock for each value: three times as long."""

        def __init__(self, make):
            self._make, self._name, self.__doc__ = make, make.__name__, make.__doc__

        def __get__(self, record, owner=None):
            if record is None:
                return self
            found = record.__dict__[self._name] = self._make(record)
            return found

    class _Factory:
        """A default that is made anew for each instance."""

        def __init__(self, make):
            self.make = make

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
            places = [place for place, name in enumerate(names) if name in defaults]
            if places != [*range(len(names) - len(places), len(names))]:
                raise TypeError(f"{cls.__name__}: a field without a default follows one with a default")
            cls.__init__ = _Init(cls, names, defaults)
            cls.__repr__ = _repr
            cls.__dataclass_fields__ = _RealFields()
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
        held, copy = record.__dict__, object.__new__(type(record))
        found = copy.__dict__
        for name in record._fields:  # what was computed of the record (cached properties) stays behind
            found[name] = held[name]
        found.update(changes)
        if len(found) > len(record._fields):
            raise TypeError(f"{type(record).__name__} has no field {next(name for name in changes if name not in record._fields)!r}")
        return copy

    class _Init:
        """In the place of ``__init__`` until somebody asks for it: of the classes that a process imports it makes a record of half."""

        def __init__(self, *given):
            self._given = given

        def __get__(self, record, owner):
            cls = self._given[0]
            if cls.__dict__["__init__"] is self:
                cls.__init__ = _init(*self._given)
            return cls.__init__.__get__(record, owner)

    def _init(cls, names, defaults):
        """A method that takes the fields as its parameters: the template for so many, with their names in the place of its own."""
        code = _TEMPLATES[len(names)].__code__
        keys = {f"{place:x}": name for place, name in enumerate(names)}
        code = code.replace(co_name=f"{cls.__name__}.__init__", co_varnames=("self", *names, *code.co_varnames[len(names) + 1:]),
                            co_consts=tuple([keys.get(const, const) for const in code.co_consts]))
        store = FunctionType(code, globals(), "__init__", tuple([defaults[name] for name in names if name in defaults]))
        store.__qualname__ = f"{cls.__qualname__}.__init__"  # which errors name
        made = [name for name, default in defaults.items() if isinstance(default, _Factory)]
        return _making(store, made) if made else store

    def _making(store, made):
        """``store``, where the fields ``made`` have defaults that are made anew for each instance."""

        def __init__(self, *args, **given):
            store(self, *args, **given)
            held = self.__dict__
            for name in made:
                if type(held[name]) is _Factory:
                    held[name] = held[name].make()

        return __init__

    # Fields go into the dictionary, past ``_refuse``; its keys are their places until ``_init`` puts their names there.
    def _take0(self):
        pass

    def _take1(self, f0):
        d = self.__dict__
        d["0"] = f0

    def _take2(self, f0, f1):
        d = self.__dict__
        d["0"], d["1"] = f0, f1

    def _take3(self, f0, f1, f2):
        d = self.__dict__
        d["0"], d["1"], d["2"] = f0, f1, f2

    def _take4(self, f0, f1, f2, f3):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"] = f0, f1, f2, f3

    def _take5(self, f0, f1, f2, f3, f4):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"], d["4"] = f0, f1, f2, f3, f4

    def _take6(self, f0, f1, f2, f3, f4, f5):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"], d["4"], d["5"] = f0, f1, f2, f3, f4, f5

    def _take7(self, f0, f1, f2, f3, f4, f5, f6):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"], d["4"], d["5"], d["6"] = f0, f1, f2, f3, f4, f5, f6

    def _take8(self, f0, f1, f2, f3, f4, f5, f6, f7):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"], d["4"], d["5"], d["6"], d["7"] = f0, f1, f2, f3, f4, f5, f6, f7

    def _take9(self, f0, f1, f2, f3, f4, f5, f6, f7, f8):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"], d["4"], d["5"], d["6"], d["7"], d["8"] = f0, f1, f2, f3, f4, f5, f6, f7, f8

    def _take10(self, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"], d["4"], d["5"], d["6"], d["7"], d["8"], d["9"] = f0, f1, f2, f3, f4, f5, f6, f7, f8, f9

    def _take11(self, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, fa):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"], d["4"], d["5"], d["6"] = f0, f1, f2, f3, f4, f5, f6
        d["7"], d["8"], d["9"], d["a"] = f7, f8, f9, fa

    def _take12(self, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, fa, fb):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"], d["4"], d["5"], d["6"] = f0, f1, f2, f3, f4, f5, f6
        d["7"], d["8"], d["9"], d["a"], d["b"] = f7, f8, f9, fa, fb

    def _take13(self, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, fa, fb, fc):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"], d["4"], d["5"], d["6"] = f0, f1, f2, f3, f4, f5, f6
        d["7"], d["8"], d["9"], d["a"], d["b"], d["c"] = f7, f8, f9, fa, fb, fc

    def _take14(self, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, fa, fb, fc, fd):
        d = self.__dict__
        d["0"], d["1"], d["2"], d["3"], d["4"], d["5"], d["6"] = f0, f1, f2, f3, f4, f5, f6
        d["7"], d["8"], d["9"], d["a"], d["b"], d["c"], d["d"] = f7, f8, f9, fa, fb, fc, fd

    _TEMPLATES = (_take0, _take1, _take2, _take3, _take4, _take5, _take6, _take7, _take8, _take9, _take10, _take11, _take12, _take13, _take14)
    """By number of fields. A method of its own source would have to be compiled for each class, or read its parameters from a list."""

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
        """What ``dataclasses`` looks for, made when it first does: it looks twice for each ``replace``."""

        def __get__(self, instance, owner):
            import dataclasses

            annotations = {name: Any for name in owner._fields}
            owner.__dataclass_fields__ = dataclasses.make_dataclass(owner.__name__, annotations.items()).__dataclass_fields__
            return owner.__dataclass_fields__


__all__ = ["cached_property", "dataclass", "field", "replace"]

"""Records do what dataclasses do."""

from __future__ import annotations

import dataclasses

import pytest
from thinfer.formats.record import cached_property, dataclass, field, replace


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 2
    names: list[str] = field(default_factory=list)

    @cached_property
    def sum(self) -> int:
        return self.x + self.y


@dataclass(frozen=True, eq=False)
class Same:
    x: int


@dataclass(eq=False)
class Open:
    x: int = 0


def test_fields_by_place_and_by_name() -> None:
    assert (Point(1).x, Point(1).y, Point(1, 3).y, Point(y=5, x=4).x) == (1, 2, 3, 4)
    assert Point(1).names is not Point(1).names
    assert repr(Point(1)).endswith("Point(x=1, y=2, names=[])")
    for wrong in (lambda: Point(), lambda: Point(1, 2, [], 4), lambda: Point(1, z=3), lambda: Point(1, x=3)):  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="Point"):
            wrong()


def test_frozen_ones_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="x"):
        Point(1).x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del Point(1).x
    found = Open()
    found.x = 3
    assert found.x == 3


def test_equality_and_hash() -> None:
    assert Point(1) == Point(1, 2)
    assert Point(1) != Point(1, 3)
    assert Point(1) != Same(1)
    assert Same(1) != Same(1)
    assert len({Same(1), Same(1)}) == 2
    key = dataclass(frozen=True)(type("Key", (), {"__annotations__": {"a": int}}))
    assert hash(key(1)) == hash(key(1))  # type: ignore[call-arg]


def test_replace_and_the_real_module() -> None:
    assert replace(Point(1), y=9) == Point(1, 9)
    assert dataclasses.replace(Point(1), y=9) == Point(1, 9)
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2, "names": []}
    assert [info.name for info in dataclasses.fields(Point)] == ["x", "y", "names"]
    assert dataclasses.fields(Point)[0] is dataclasses.fields(Point)[0], "made anew each time, they take a millisecond"
    with pytest.raises(TypeError):
        replace(Point(1), z=1)  # type: ignore[call-arg]
    point = Point(1)
    assert point.sum == 3
    assert "sum" not in vars(replace(point, y=9)), "computed of other fields"
    with pytest.raises(TypeError, match="no field 'sum'"):
        replace(point, sum=1)  # type: ignore[call-arg]

"""Cases that all poolings with windows have."""

from __future__ import annotations

from typing import Any

from ._op import Arg, Case


def _case(name: str, x: tuple[int, ...], kernel: tuple[int, ...], **attrs: Any) -> Case:
    return Case(name, (Arg(x),), {"kernel_shape": kernel, **attrs})


def pool_cases(prefix: str = "", **attrs: Any) -> tuple[Case, ...]:
    """All paddings, strides, dilations, ceil_mode, and one to three dimensions; with ``attrs`` added, under names that start with ``prefix``."""
    return tuple(Case(f"{prefix}_{case.name}", case.args, {**case.attrs, **attrs}) if prefix else case for case in _cases())


def _cases() -> tuple[Case, ...]:
    return (
        _case("halved", (2, 3, 8, 6), (2, 2), strides=(2, 2)),
        _case("overlapping", (1, 5, 7, 9), (3, 2)),
        _case("padded", (2, 3, 7, 7), (3, 3), strides=(2, 2), pads=(1, 1, 1, 1)),
        _case("asymmetric_pads", (1, 3, 7, 8), (3, 4), strides=(2, 3), pads=(0, 1, 2, 2)),
        _case("same_upper", (1, 3, 7, 8), (3, 4), strides=(2, 3), auto_pad="SAME_UPPER"),
        _case("same_lower", (1, 3, 7, 8), (2, 3), strides=(2, 2), auto_pad="SAME_LOWER"),
        _case("auto_valid", (1, 3, 7, 8), (3, 2), strides=(2, 2), auto_pad="VALID"),
        _case("ceil_valid", (1, 2, 7, 9), (2, 3), strides=(2, 4), auto_pad="VALID", ceil_mode=1),
        _case("ceil", (1, 3, 8, 9), (3, 2), strides=(2, 3), ceil_mode=1),
        _case("ceil_padded", (1, 3, 7, 8), (3, 3), strides=(3, 2), pads=(1, 0, 0, 1), ceil_mode=1),
        _case("ceil_starts_in_padding", (1, 2, 5, 5), (2, 2), strides=(2, 2), pads=(1, 1, 1, 1), ceil_mode=1),
        _case("dilated", (1, 3, 9, 10), (3, 2), dilations=(2, 3)),
        _case("dilated_padded", (1, 3, 9, 10), (3, 3), dilations=(2, 1), strides=(2, 2), pads=(1, 1, 1, 1)),
        _case("stride_past_kernel", (1, 3, 9, 9), (2, 2), strides=(3, 4)),
        _case("line", (2, 3, 11), (3,), strides=(2,), pads=(1, 0)),
        _case("volume", (1, 2, 5, 6, 7), (2, 3, 2), strides=(2, 1, 2), pads=(0, 1, 1, 1, 1, 0)),
        _case("whole_image", (2, 5, 7, 7), (7, 7)),
    )

"""The YAML of recipes. Apart from ``recipe``, so that recipes made of plain values need no parser."""

from __future__ import annotations

from typing import Any

import yaml

from .strict import RecipeError


class _Loader(yaml.SafeLoader):
    """SafeLoader that does not let a key be given twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                raise RecipeError(f"the key {key!r} is given twice (line {node.start_mark.line + 1} and after)")
        return super().construct_mapping(node, deep)


def value_of(content: str, where: str) -> Any:
    """The plain value that the text stands for, {} for an empty one. Raises RecipeError, which begins with ``where``."""
    try:
        value = yaml.load(content, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise RecipeError(f"{where} is not YAML: {getattr(error, 'problem', None) or 'it cannot be parsed'}{place}") from None
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None
    return {} if value is None else value

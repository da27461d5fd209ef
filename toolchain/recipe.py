"""Recipes: what to compress and how, as YAML. ``docs/recipes.md`` tells people the keys.

What is said later counts: the recipe's own keys, then ``exempt`` and ``min_size``, then the sections ``small``, ``depthwise`` and
``biases``, then ``overrides`` in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Any

from ..formats.graph import Graph
from ..formats.tensor import CODERS, LEFT_TO_THE_WRITER, CoderChoice
from .passes.prune_weights import Pruning
from .passes.quantize_activations import CALIBRATIONS, Activations
from .recipe_weights import ValueKind, read_pruning, read_values
from .roles import Role, roles
from .strict import RecipeError, flag, mapping, number, one_of, optional, section, shown, text, whole

LISTED = 40
"""Most names that an error message lists."""


@dataclass(frozen=True)
class Settings:
    """What is done to one weight. ``sparsify``: share of zeros from which on they are stored as absent; None: never."""

    prune_weights: Pruning | None = None
    sparsify: float | None = None
    values: ValueKind = "fp32"
    coder: CoderChoice = "raw"


UNTOUCHED = Settings()


@dataclass(frozen=True)
class ChannelPruning:
    """The arguments of ``passes.prune_channels``."""

    fraction: float = 0.0
    scope: str = "global"
    importance: str = "l1"
    round_to: int = 1


@dataclass(frozen=True)
class Exempt:
    """Weights that stay as they are: of the first and of the last node that has any, and biases."""

    first: bool = False
    last: bool = False
    biases: bool = True


@dataclass(frozen=True)
class Small:
    """``patch``: settings for weights that have less than the share ``below`` of all weights' elements. They cost little, and to
    the net each of their elements counts for more."""

    below: float = 0.0
    patch: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Override:
    """``patch``: settings for the weights whose name, or whose node's label, matches the pattern ``match``."""

    match: str
    patch: Mapping[str, Any]
    prune_channels: float | None = None


@dataclass(frozen=True)
class Recipe:
    """A whole recipe. ``settings``: for every weight that nothing more special is said of. ``activations``: None leaves them floats.
    ``correct_biases``: with calibration data, biases make up for what compressed weights take from the mean."""

    settings: Settings = UNTOUCHED
    activations: Activations | None = None
    correct_biases: bool = False
    prune_channels: ChannelPruning | None = None
    exempt: Exempt = Exempt()
    small: Small = Small()
    depthwise: Mapping[str, Any] = field(default_factory=dict)
    biases: Mapping[str, Any] = field(default_factory=dict)
    min_size: int = 0
    overrides: tuple[Override, ...] = ()

    def resolve(self, graph: Graph) -> dict[str, Settings]:
        """Weight name → what is done to it, for every weight that may be compressed.

        Raises RecipeError if an override matches nothing.
        """
        found = roles(graph)
        names = {name: (name, *role.labels) for name, role in found.items()}
        for place, override in enumerate(self.overrides):
            if not any(_matches(override.match, meant) for meant in names.values()):
                raise RecipeError(f"overrides[{place}].match {override.match!r} matches nothing; the model has {_listed(names.values())}")
        sizes = {name: graph.weights[name].size for name in found}
        whole_net = sum(size for name, size in sizes.items() if found[name].kind != "bias")
        return {name: self._settings(sizes[name], whole_net, role, names[name]) for name, role in found.items()}

    @property
    def uses_data(self) -> bool:
        """Whether calibration data make a difference."""
        static = self.activations is not None and self.activations.is_static(True)
        return static or self.correct_biases or (self.prune_channels is not None and self.prune_channels.importance == "apoz")

    def exempt_names(self, graph: Graph) -> frozenset[str]:
        """Names and labels of the first and last weight and node, as far as they are exempt."""
        return frozenset(text for name, role in roles(graph).items() if self._is_end(role) for text in (name, *role.labels))

    def _settings(self, size: int, whole_net: int, role: Role, names: tuple[str, ...]) -> Settings:
        settings = self._by_role(size, whole_net, role)
        for override in self.overrides:
            if _matches(override.match, names):
                settings = replace(settings, **override.patch)
        return settings

    def _by_role(self, size: int, whole_net: int, role: Role) -> Settings:
        """What the recipe says before overrides."""
        if role.kind == "bias":
            small = self.exempt.biases or size < self.min_size
            return replace(UNTOUCHED if small else replace(self.settings, prune_weights=None), **self.biases)
        if self._is_end(role) or size < self.min_size:
            return UNTOUCHED
        settings = replace(self.settings, **self.small.patch) if size < self.small.below * whole_net else self.settings
        # There are so few depthwise weights per channel that each one counts: none is pruned unless the section says so.
        return replace(settings, **{"prune_weights": None, **self.depthwise}) if role.kind == "depthwise" else settings

    def _is_end(self, role: Role) -> bool:
        return (self.exempt.first and role.is_first) or (self.exempt.last and role.is_last)


def _matches(pattern: str, names: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _listed(names: Iterable[tuple[str, ...]]) -> str:
    every = list(dict.fromkeys(name for meant in names for name in meant))
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return (", ".join(every[:LISTED]) or "no weights that can be compressed") + more


# ---------------------------------------------------------------- reading


def presets() -> list[str]:
    """The names of the recipes that come with the toolchain."""
    folder = resources.files(__package__) / "recipes"
    return sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".yaml"))


def load(name: str) -> Recipe:
    """The preset of that name, or the recipe in the YAML file at that path. Raises RecipeError."""
    if name in presets():
        return parse((resources.files(__package__) / "recipes" / f"{name}.yaml").read_text("utf-8"), f"recipe {name}")
    path = Path(name)
    if not path.is_file():
        close = get_close_matches(name.lower(), presets(), 1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise RecipeError(f"there is no recipe {name!r}: it is no file, and the presets are {', '.join(presets())}{meant}")
    try:
        content = path.read_text("utf-8")
    except OSError as error:
        raise RecipeError(f"the recipe {name} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"the recipe {name} is no text, so it is no YAML") from None
    return parse(content, f"recipe {name}")


def parse(content: str, where: str = "recipe") -> Recipe:
    """The recipe in YAML text; every error begins with ``where``. An empty text changes nothing: it is ``dense``."""
    from .recipe_text import value_of

    value = value_of(content, where)
    try:
        return made(value)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


_SETTINGS = {"prune_weights": optional(read_pruning), "sparsify": optional(number(0, 1)), "values": read_values,
             "coder": one_of(*CODERS, *LEFT_TO_THE_WRITER)}
_CHANNELS = {"fraction": number(0, 1), "scope": one_of("global", "layer"), "importance": one_of("l1", "apoz"), "round_to": whole(1)}


def _activations(value: Any, where: str) -> Activations:
    if isinstance(value, str):
        value = {"kind": value}
    found = mapping(value, where, {"kind": one_of("static", "dynamic", "auto", "binary"), "dtype": one_of("int8", "uint8"),
                                   "calibration": one_of(*CALIBRATIONS), "percentile": number(50, 100)})
    if "percentile" in found and found.get("calibration") != "percentile":
        raise RecipeError(f"{where} has a percentile, but its calibration is {found.get('calibration', 'minmax')!r}")
    if found.get("kind") == "dynamic" and ({"calibration", "dtype"} & set(found)):
        raise RecipeError(f"{where} is dynamic, which is int8 without calibration")
    if found.get("kind") == "binary" and len(found) > 1:
        raise RecipeError(f"{where} is binary, which has neither dtype nor calibration")
    return Activations(**found)


def _patch(value: Any, where: str) -> dict[str, Any]:
    return mapping(value, where, _SETTINGS)


def _small(value: Any, where: str) -> Small:
    found = mapping(value, where, {"below": number(0, 1), **_SETTINGS})
    if "below" not in found:
        raise RecipeError(f"{where} lacks below, a share of all weights of at least 0 and below 1")
    return Small(found.pop("below"), found)


def _override(value: Any, where: str) -> Override:
    channels = section({"fraction": number(0, 1)}, lambda fraction=0.0: fraction)
    found = mapping(value, where, {"match": text, "prune_channels": channels, **_SETTINGS})
    if "match" not in found:
        raise RecipeError(f"{where} lacks match, a pattern for names of weights or nodes")
    return Override(found.pop("match"), prune_channels=found.pop("prune_channels", None), patch=found)


def _overrides(value: Any, where: str) -> tuple[Override, ...]:
    if not isinstance(value, list):
        raise RecipeError(f"{where} is {shown(value)}; it must be a list")
    return tuple(_override(item, f"{where}[{place}]") for place, item in enumerate(value))


def made(value: Any) -> Recipe:
    """The recipe of a mapping with a recipe's keys. Raises RecipeError."""
    exempt = section({"first": flag, "last": flag, "biases": flag}, Exempt)
    found = mapping(value, "", {
        **_SETTINGS, "activations": optional(_activations), "correct_biases": flag, "prune_channels": optional(section(_CHANNELS, ChannelPruning)),
        "exempt": exempt, "small": _small, "depthwise": _patch, "biases": _patch, "min_size": whole(0), "overrides": _overrides})
    settings = Settings(**{key: found.pop(key) for key in _SETTINGS if key in found})
    return Recipe(settings=settings, **found)

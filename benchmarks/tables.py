"""Tables of measured figures: JSON for programs, Markdown for people, each with what it was measured on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .environment import describe

Row = Mapping[str, Any]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def markdown(title: str, rows: Sequence[Row], about: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """One table with its columns in the order of the rows' keys, and below it how it was measured."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"# {title}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(key, "")) for key in columns) + " |" for row in rows]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    machine = f"{about['cpu']}, {about['cores']} cores, ISA level {about['isa']}, Python {about['python']}, {versions}"
    lines += ["", *notes, "", f"`{about['command']}`", "", f"{machine}; revision {about['revision']}.", ""]
    return "\n".join(lines)


def save(folder: Path, name: str, title: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    """Writes ``name.json`` and ``name.md`` into ``folder`` and returns the Markdown."""
    about = describe()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"title": title, "about": about, "notes": list(notes), "rows": list(rows)}, indent=1) + "\n")
    text = markdown(title, rows, about, notes)
    (folder / f"{name}.md").write_text(text)
    return text

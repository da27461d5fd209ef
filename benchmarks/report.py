"""Results as Markdown and plots, ratios first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .records import Entry

REPORT = "README.md"


def cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Columns in the order of the rows' keys."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return lines + ["| " + " | ".join(cell(row.get(key, "")).replace("|", "/") for key in columns) + " |" for row in rows]


def ratio_rows(found: Mapping[str, Entry]) -> Iterator[dict[str, Any]]:
    """Every ratio that was asked for: our minimum over the best rival's, below 1 is ahead."""
    for name, entry in found.items():
        for target in entry["targets"]:
            ratio = target["ratio"]
            state = "not measured" if ratio is None else "reached" if ratio <= target["asked"] else "missed"
            # A rival that was not there could have been the best one.
            missing = ", ".join(rival for rival in target["unmeasured rivals"] if not rival.startswith("thinfer"))
            yield {"case": name + (", cold" if target["cold"] else ""), "ours": target["ours"], "best rival": target["rival"], "ratio": ratio,
                   "asked": target["asked"], "": state, "not there": missing}


def contender_rows(entry: Entry) -> Iterator[dict[str, Any]]:
    """From the fastest on; ``error``: max|Δ| / max|reference| with float64 of the case's model, or of the contender's own weights."""
    order = sorted(entry["contenders"].items(), key=lambda item: item[1].get("minimum", float("inf")))
    fastest = min((values["minimum"] for _, values in order if "minimum" in values), default=1.0)
    cold = any("cold minimum" in values for _, values in order)
    for name, values in order:
        if "missing" in values:
            yield {"contender": name, "ms min": "missing: " + values["missing"]}
            continue
        row: dict[str, Any] = {"contender": name, "ms min": values["minimum"] * 1e3, "ms median": values["median"] * 1e3,
                               "× fastest": values["minimum"] / fastest}
        if cold:
            row |= {"cold ms min": values["cold minimum"] * 1e3, "cold ms median": values["cold median"] * 1e3}
        yield row | {"cosine": f"{values['cosine']:.5f}", "error": values["error"],
                     "error, own weights": values.get("own error"), "file MB": values["nbytes"] / 1e6,
                     "CPU s per s": values["cpu per second"], "clean blocks": f"{values['clean']} of {values['blocks']}",
                     "version": values["version"]}


def machine(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (f"{about['cpu']}, {about['cores']} cores, ISA level {about['isa']}, {about['system']}, Python {about['python']}, {versions}; "
            f"revision {about['revision']}")


def section(name: str, entry: Entry) -> list[str]:
    rows = list(contender_rows(entry)) if "contenders" in entry else entry["rows"]
    threads = f" ({entry['threads']} threads)" if entry["threads"] > 1 else ""
    about = entry["about"]
    return [f"## {entry['title']}{threads}", "", *table(rows), "", f"`{about['command']}`; case {name}; revision {about['revision']}.", ""]


def report(found: Mapping[str, Entry], folder: Path) -> str:
    """Writes ``README.md`` and the plots into ``folder``; returns the table of ratios, or says that none were asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    machines = list(dict.fromkeys(machine(entry["about"]) for entry in found.values()))
    ratios = list(ratio_rows(found))
    lines = ["# Measured beside peers", "", "Made by `python -m thinfer.benchmarks report`. Each contender ran in a process of its own, in blocks "
             "that took turns, the others stopped, pinned, after its output was compared with float64. Ratio: our minimum over the best "
             "rival's in the same run; below 1 is ahead.", "", *(f"- {text}" for text in machines), ""]
    if ratios:
        lines += ["## Ratios", "", *table(ratios), ""]
    for title, file in plots(found, folder):
        lines += [f"## {title}", "", f"![{title}]({file})", ""]
    for name, entry in found.items():
        lines += section(name, entry)
    (folder / REPORT).write_text("\n".join(lines))
    return "\n".join(table(ratios)) if ratios else f"{folder / REPORT}: nothing in it was asked to be ahead of a rival"


def plots(found: Mapping[str, Entry], folder: Path) -> list[tuple[str, str]]:
    """(title, file) of each plot; none without matplotlib, which the tables do without."""
    try:
        from .plots import draw
    except ModuleNotFoundError as missing:
        if missing.name != "matplotlib":
            raise
        print("without matplotlib (the extra `bench`) there are no plots")
        return []
    return draw(found, folder)

"""One file holds what a machine measured: each case beside what it was measured on. Cases that are measured again replace themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..formats.errors import ThinferError
from .cases.definition import Case, Target
from .contest import Figures

Entry = dict[str, Any]


class RecordsError(ThinferError, ValueError):
    """A file does not hold results."""


def key(case: Case, threads: int) -> str:
    return case.name if threads == 1 else f"{case.name} on {threads} threads"


def contest_entry(case: Case, threads: int, figures: Figures, about: Mapping[str, Any]) -> Entry:
    return {"case": case.name, "title": case.title, "threads": threads, "facts": dict(case.facts), "about": dict(about),
            "contenders": {name: dict(values) for name, values in figures.items()},
            "targets": [target_entry(target, figures) for target in case.targets]}


def target_entry(target: Target, figures: Figures) -> Entry:
    """``ratio``: our minimum over that of the best rival that was measured, below 1 is ahead; None where either is missing."""
    field = "cold minimum" if target.cold else "minimum"
    ours = figures.get(target.ours, {}).get(field)
    times = {rival: figures[rival][field] for rival in target.rivals if field in figures.get(rival, {})}
    best = min(times, key=lambda rival: times[rival], default=None)
    return {"ours": target.ours, "cold": target.cold, "rival": best, "asked": target.ratio,
            "ratio": ours / times[best] if ours is not None and best is not None else None,
            "unmeasured rivals": [rival for rival in target.rivals if rival not in times]}


def study_entry(title: str, rows: Sequence[Mapping[str, Any]], targets: Sequence[Entry], about: Mapping[str, Any]) -> Entry:
    return {"title": title, "threads": 1, "about": dict(about), "rows": [dict(row) for row in rows], "targets": list(targets)}


def asked(ours: str, rival: str, value: float | None, ratio: float) -> Entry:
    """A target of a study: ``value`` should be at most ``ratio``."""
    return {"ours": ours, "cold": False, "rival": rival, "asked": ratio, "ratio": value, "unmeasured rivals": []}


def load(path: Path) -> dict[str, Entry]:
    """Nothing where there is no file. Raises RecordsError, OSError."""
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(entry, dict) and "title" in entry for entry in found.values()):
        raise RecordsError(f"{path} is no file of results as cases write it")
    return found


def check(path: Path) -> None:
    """Finds out before anything is measured that ``save`` would fail. Raises as ``load``."""
    load(path)
    scratch = _scratch(path)
    scratch.touch()
    scratch.unlink()


def _scratch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_suffix(".tmp")


def save(path: Path, name: str, entry: Entry) -> None:
    found = load(path) | {name: entry}
    scratch = _scratch(path)
    scratch.write_text(json.dumps(found, indent=1) + "\n")
    scratch.replace(path)


def lines(entry: Entry) -> Sequence[str]:
    """What is printed while measuring: contenders from the fastest on, or a study's rows, then ratios, if there was a rival at all."""
    timed = {name: values for name, values in entry.get("contenders", {}).items() if "minimum" in values}
    found = ["  " + ", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())
             for row in entry.get("rows", ())]
    for name in sorted(timed, key=lambda one: timed[one]["minimum"]):
        values = timed[name]
        cold = f"  cold {values['cold minimum'] * 1e3:9.4f}" if "cold minimum" in values else ""
        found.append(f"  {name:34} min {values['minimum'] * 1e3:9.4f}  median {values['median'] * 1e3:9.4f} ms{cold}  "
                     f"cosine {values['cosine']:.5f}  error {values['error']:.1e}  CPU {values['cpu per second']:.2f}  "
                     f"clean {values['clean']}/{values['blocks']}")
    alone = timed and all(name.split(" ")[0] == "thinfer" for name in timed)
    for target in entry["targets"]:
        if alone and target["ratio"] is None:
            continue
        ratio = "not measured" if target["ratio"] is None else f"{target['ratio']:.3f}"
        rival, cold = target["rival"] or "its rivals", " (cold)" if target["cold"] else ""
        found.append(f"  {target['ours']} / {rival}{cold}: {ratio}, asked {target['asked']:.3f}")
    return found

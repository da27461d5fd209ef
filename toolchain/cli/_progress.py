"""Progress on stderr, on a terminal (or where FORCE_COLOR asks rich to take it for one)."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from ..pipeline import Progress


@contextlib.contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """A function that shows (what is being done, how much is done, how much there is; 0 of 0: unknown)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(file=sys.stderr)  # importing a model redirects sys.stderr meanwhile
    if quiet or not console.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bars:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for other in tasks.values():
                    bars.remove_task(other)  # type: ignore[arg-type]
                tasks.clear()
                tasks[what] = bars.add_task(what, total=total or None)
            bars.update(tasks[what], completed=done, total=total or None)  # type: ignore[arg-type]

        yield show

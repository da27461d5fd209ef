"""Every command: help, mistakes in usage, missing packages, pipes, interrupts, progress."""

from __future__ import annotations

import importlib.metadata
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import COMMAND, environment, fails, works
from thinfer.toolchain import cli


def test_help_and_version() -> None:
    for arguments in ((), ("--help",), ("pack", "--help")):
        assert works(*arguments).startswith("Usage: toolchain")


def test_version_of_what_is_installed_and_of_a_source_tree(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "1.2.3" if package == "thinfer" else "")
    assert cli.execute(["--version"]) == 0
    assert capsys.readouterr().out == "thinfer, version 1.2.3\n"

    def missing(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert cli.execute(["--version"]) == 0
    root = Path(cli.__file__).resolve().parents[2]
    assert capsys.readouterr().out == f"thinfer, of the source tree {root}, which is not installed\n"


def test_usage_mistakes(net: Path, thin: Path) -> None:
    known = "explain, pack, inspect, run, verify, bench, tune, convert, demo"
    assert fails("squeeze") == f"there is no command 'squeeze'; the commands are {known} (see toolchain --help)"
    assert fails("pack") == "missing argument 'MODEL' (see toolchain pack --help)"
    assert "no such option" in fails("inspect", thin, "--xml").lower()
    assert "'--input'" in fails("run", thin)
    assert "'--against'" in fails("verify", thin)
    for number in ("0", "257", "x", "1.5", "9" * 5000):
        assert f"'--threads': '{number}' is not a whole number from 1 to 256" in fails("bench", thin, "--threads", number)


@pytest.mark.parametrize(("module", "command"), [("onnx", "pack"), ("click", "pack"), ("yaml", "pack")])
def test_missing_packages_name_the_extra(net: Path, module: str, command: str, tmp_path: Path) -> None:
    """As on a board, where only NumPy is: a stand-in on the path behaves like a package that is not installed."""
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('it is not here', name={module!r})")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    said = fails(command, net, "-o", tmp_path / "x.thin", env={"PYTHONPATH": path})
    assert said.startswith(f"{module} is not installed")
    assert said.endswith('pip install "thinfer[toolchain]"')


def test_a_closed_pipe_is_no_error(thin: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run([*COMMAND, "inspect", str(thin)], stdout=write, stderr=subprocess.PIPE, env=environment(), cwd="/")
    os.close(write)
    assert process.stderr == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_a_full_device_is_one_sentence(thin: Path) -> None:
    for arguments in (["inspect", thin], ["inspect", thin, "--json"], ["--help"]):
        with open("/dev/full", "w") as full:
            found = subprocess.run([*COMMAND, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), cwd="/")
        assert (found.returncode, found.stderr) == (2, "toolchain: the output cannot be written: No space left on device\n")


def test_closed_streams(net: Path, thin: Path, tmp_path: Path) -> None:
    def closed(which: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        line = shlex.join([*COMMAND, *map(str, arguments)])
        return subprocess.run(["sh", "-c", f"{line} {which}"], capture_output=True, text=True, env=environment(), cwd="/")

    found = closed(">&-", "inspect", thin)
    assert (found.returncode, found.stdout, found.stderr) == (2, "", "toolchain: the output cannot be written: Bad file descriptor\n")
    found = closed(">&-", "pack", net, "-q", "-o", tmp_path / "x.thin")
    assert (found.returncode, found.stderr) == (0, "")
    found = closed("2>&-", "inspect", tmp_path / "none.thin")
    assert (found.returncode, found.stdout) == (2, "")


@pytest.mark.parametrize("error", ["KeyError('x')", "SystemExit(7)", "RecursionError()"])
def test_a_bug_is_one_sentence_too(error: str, thin: Path) -> None:
    """A defect put into a command's module, with the whole command line around it."""
    code = f"""
import sys
from thinfer.toolchain.cli import inspect
def broken(*arguments):
    raise {error}
inspect.file_report = broken
from thinfer.toolchain.__main__ import main
main()
"""
    arguments = [sys.executable, "-c", code, "inspect", str(thin)]
    found = subprocess.run(arguments, capture_output=True, text=True, env=environment(), cwd="/")
    assert (found.returncode, found.stdout) == (2, "")
    assert re.fullmatch(rf"toolchain: this is a bug in Thinfer: {error.partition('(')[0]}.*; set THINFER_TRACEBACK=1 to see where\n", found.stderr)
    found = subprocess.run(arguments, capture_output=True, text=True, env={**environment(), "THINFER_TRACEBACK": "1"}, cwd="/")
    assert found.returncode == (7 if "Exit" in error else 1)


def test_several_commands_in_one_process(thin: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from thinfer.toolchain.__main__ import main

    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["toolchain", "run", str(thin), "--input", str(images)])
        with pytest.raises(SystemExit, match=r"^0$"):
            main()
        assert capsys.readouterr().out.startswith("output")


def test_an_interrupt_is_quiet(thin: Path) -> None:
    process = subprocess.Popen([*COMMAND, "bench", str(thin)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd="/")
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode != 0:  # it may have been done by then
        assert (process.returncode, out, err) == (130, b"", b"")


def on_a_terminal(*arguments: object) -> str:
    """What a command writes to stderr where that is a terminal."""
    main, side = pty.openpty()
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=side, env={**environment(), "TERM": "xterm"})
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # closed by the process's end
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait() == 0
    return shown.decode()


def test_progress_is_shown_on_a_terminal_alone(net: Path, tmp_path: Path) -> None:
    arguments = ("pack", net, "-o", tmp_path / "x.thin", "--recipe", "codebook-8")
    assert "reading" in on_a_terminal(*arguments)
    assert on_a_terminal(*arguments, "-q") == ""

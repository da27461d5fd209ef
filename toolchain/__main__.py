"""The command line: ``toolchain`` or ``thinfer`` where it is installed, else ``python -m thinfer.toolchain``."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs one command and exits: 0 if it went well, 2 with one sentence on stderr if not."""
    try:
        from .cli import execute
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("thinfer"):
            raise
        print(f'toolchain: {error.name} is not installed; the command line needs pip install "thinfer[toolchain]"', file=sys.stderr)
        sys.exit(2)
    sys.exit(execute(sys.argv[1:]))


if __name__ == "__main__":
    main()

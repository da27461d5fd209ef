"""``python -m thinfer.benchmarks``: measures, or reports what was measured."""

from __future__ import annotations

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())

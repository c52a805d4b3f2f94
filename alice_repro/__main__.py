"""`python -m alice_repro` is `alice-repro`."""

import sys

from alice_repro.cli import main

if __name__ == "__main__":
    sys.exit(main())

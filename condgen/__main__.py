"""`python -m condgen` is the `condgen` command."""

import sys

from condgen.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m parle_ray`."""

import sys

from parle_ray.cli import main

if __name__ == "__main__":
    sys.exit(main())

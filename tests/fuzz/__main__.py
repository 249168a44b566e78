"""The command line of the fuzzer.

python -m tests.fuzz configs --cases 10000 --seed 0
python -m tests.fuzz checkpoints --cases 2000 --seed 0
python -m tests.fuzz hostile
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import checkpoints, configs, hostile
from tests.fuzz.harness import run

KINDS = {"configs": configs.cases, "checkpoints": checkpoints.cases, "hostile": hostile.cases}


def main() -> int:
    """0 if every case ended as it should."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = run(KINDS[arguments.kind](arguments.cases, arguments.seed, Path(folder)))
    for description, what in tally.failures:
        print(f"{description}\n    {what}", file=sys.stderr)
    ends = ", ".join(f"{number:,} {end}" for end, number in sorted(tally.ends.items()))
    seconds = time.monotonic() - start
    failed = len(tally.failures)
    print(f"{tally.count:,} {arguments.kind}: {ends}, {failed} failed, {seconds:.0f} s")
    return int(bool(tally.failures))


if __name__ == "__main__":
    sys.exit(main())

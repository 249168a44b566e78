"""The commands as a user gives them, in processes of their own."""

import re
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]


def test_quickstart_learns_the_digits_and_says_where_the_run_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "parle_ray", "quickstart", "--name", "first"]
    told = subprocess.run(
        [*command, "--storage_path", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert told.returncode == 0, told.stderr
    rounds = re.findall(r"round +(\d+)/25  loss [\d.]+ .*distance [\d.]+  gamma .*rho", told.stderr)
    assert rounds[0] == "1"
    assert rounds[-1] == "25"
    assert not re.search(r"^\[.* [WE] \d+ \d+\] ", told.stderr, re.MULTILINE), "Ray complains"
    found = re.search(r"master ([\d.]+) %", told.stdout)
    assert found, told.stdout
    assert float(found[1]) >= 97.5
    assert str(tmp_path / "first") in told.stdout
    assert f"report   {tmp_path / 'first' / 'report.html'}" in told.stdout
    assert (tmp_path / "first" / "report.html").read_text().startswith("<!doctype html>")
    assert load_file(tmp_path / "first" / "checkpoint_000025" / "model.safetensors")


def test_simulate_learns_without_ray() -> None:
    code = (
        "import sys; from parle_ray.cli import main;"
        "argv = 'simulate --model.name mlp --num_rounds 6 --num_replicas 2'.split();"
        "status = main(argv);"
        "sys.exit(status or 10 * any(name in sys.modules for name in ('ray', 'torchvision')))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert told.returncode == 0, told.stderr
    header, summary = told.stdout.splitlines()
    assert "1,437 train / 360 held out" in header
    assert "Parle L=25 · 2 replicas" in header
    accuracy = float(summary.split("master ")[1].split(" %")[0])
    assert accuracy > 90.0
    assert "synced 6 times, 922.6 kB (every step: 23.1 MB)" in summary
    assert told.stderr.splitlines()[-1].startswith("round 6/6  loss ")

"""The lines above and below a run on the command line."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from pyarrow.fs import FileSelector

from parle_ray.console.recipe import Recipe
from parle_ray.moving import length
from parle_ray.strategies import Strategy


def header(recipe: Recipe, device: str) -> str:
    """What is about to be trained, on what, how."""
    config = recipe.config
    train = recipe.train
    where = f"{train.origin}, " if train.origin else ""
    held_out = "held out" if train.origin or config.data.held_out is not None else "test"
    first, last = recipe.strategy.steps(0), recipe.strategy.steps(recipe.planned_rounds - 1)
    lengths = f"{first}" if first == last else f"{first} to {last}"
    parts = [
        f"data {config.data.name} ({where}{len(train):,} train / {len(recipe.test):,} {held_out})",
        f"{config.model.name} {recipe.num_params:,} parameters",
        f"{type(config.strategy).__name__} L={lengths}",
        f"{config.num_replicas} replica{'s' if config.num_replicas > 1 else ''}",
        device,
    ]
    return "  " + " · ".join(parts)


def traffic(recipe: Recipe, num_rounds: int, num_bytes: int) -> str:
    """What the exchange moved, against averaging after every step."""
    every = recipe.planned_steps / recipe.planned_rounds
    told = f"synced {num_rounds} times, {size(num_bytes)}"
    if every == 1:
        return told
    vectors = 2 * recipe.num_params * recipe.config.num_replicas * recipe.planned_steps
    return f"{told} (every step: {size(num_bytes * vectors / recipe.num_exchanged)})"


def amounts(strategy: Strategy) -> tuple[str, str]:
    """What part of a vector goes up in a round, and what comes down.

    >>> from parle_ray.strategies import Parle, Rotation, StreamingDiLoCo
    >>> amounts(Parle()), amounts(Rotation()), amounts(StreamingDiLoCo(fragments=4))
    (('1', '1'), ('1/n', '1'), ('1/4', '1/4'))
    """
    total = 2**30

    def part(stretch: slice) -> str:
        return str(Fraction(length(stretch), total).limit_denominator(1000))

    two, three = (part(strategy.sends(0, total, 0, n)) for n in (2, 3))
    return two if two == three else "1/n", part(strategy.moves(0, total))


def outcome(metrics: Mapping[str, Any], moved: str, result: Any = None, report: Any = None) -> str:
    """How the run ended and, with the `Result` of one on Ray, where its files are.

    Args:
        report: the page with its figures, if it has one.
    """
    score = f"master {100 * metrics['accuracy']:.1f} %  |  " if "accuracy" in metrics else ""
    if "bits_per_byte" in metrics:
        score += f"{metrics['bits_per_byte']:.3f} bits per byte  |  "
    lines = [f"  {score}{moved}"]
    if result is not None:
        entries = result.filesystem.get_file_info(FileSelector(result.path))
        files = sorted(entry.base_name for entry in entries if entry.base_name[0] != ".")
        lines.append(f"  run      {result.path}     ({', '.join(files)})")
        if result.checkpoint is not None:
            lines.append(f"  model    {result.checkpoint.path}/model.safetensors")
        if report is not None:
            lines.append(f"  report   {report}")
    return "\n".join(lines)


def size(num_bytes: float) -> str:
    """Bytes as people read them.

    >>> size(9_225_600)
    '9.2 MB'
    """
    units = ["B", "kB", "MB", "GB", "TB"]
    while num_bytes >= 1000 and len(units) > 1:
        num_bytes /= 1000
        units.pop(0)
    return f"{num_bytes:.0f} B" if units[0] == "B" else f"{num_bytes:.1f} {units[0]}"

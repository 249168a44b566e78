"""The arguments of `flatness`, read into a `FlatnessConfig`."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jsonargparse import ArgumentParser

from parle_ray.console.arguments import parse
from parle_ray.errors import InputError
from parle_ray.flatness import Measures


@dataclass(frozen=True, kw_only=True)
class FlatnessConfig:
    """Which runs to measure, and how much is drawn.

    Attributes:
        runs: folders of runs, or their URIs.
        checkpoint: its name, such as checkpoint_000040; null is the newest of each run.
        num_examples: of the training set on which the loss is taken; all if it has fewer.
        measures: how much is drawn, and from where.
        device: cpu, cuda or cuda:1; null takes a GPU if there is one.
        json: a file to write all figures to.
    """

    runs: tuple[str, ...]
    checkpoint: str | None = None
    num_examples: int = 1000
    measures: Measures = field(default_factory=Measures)
    device: str | None = None
    json: str | None = None

    def __post_init__(self) -> None:
        if not self.runs:
            raise InputError(
                "RUN: none is given; name the folder of a run, such as ~/parle_results/x"
            )
        if self.num_examples < 1:
            raise InputError(f"num_examples must be >= 1, got {self.num_examples}")
        if self.json is not None and not Path(self.json).absolute().parent.is_dir():
            raise InputError(f"json: there is no folder for {self.json}; make it first")


def read_flatness(argv: Sequence[str], prog: str, description: str) -> FlatnessConfig:
    """What `argv` asks for: first the runs, then options.

    Raises:
        InputError: one line that names the argument and the way out.
    """
    parser = ArgumentParser(
        prog=f"{prog} RUN [RUN ...]",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of any error")
    parser.add_class_arguments(FlatnessConfig, as_group=True, skip={"runs"})
    options = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    given, values = parse(parser, argv[options:], FlatnessConfig)
    names = [each.name for each in dataclasses.fields(FlatnessConfig) if each.name in given]
    return FlatnessConfig(runs=tuple(argv[:options]), **{name: values[name] for name in names})

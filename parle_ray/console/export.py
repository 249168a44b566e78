"""`python -m parle_ray export`: the model of a run in a form that needs nothing of ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from parle_ray.console import graphs
from parle_ray.console.finished import config_of
from parle_ray.console.parser import Parser
from parle_ray.console.summary import size
from parle_ray.data import NAMES, load
from parle_ray.data.catalogue import FACTS
from parle_ray.errors import InputError, StorageError
from parle_ray.models import build
from parle_ray.runs import checkpoint
from parle_ray.runs.storage import Folder, LocalFolder, open_folder

TENSORS = {
    "state_dict": "a dictionary of tensors, for torch.load(FILE, weights_only=True)",
    "safetensors": "the same without a pickle, for safetensors.torch.load_file(FILE)",
}
GRAPHS = {
    "torch_export": "the network itself, for torch.export.load(FILE).module()",
    "onnx": "the network itself, for onnxruntime and others",
}
OTHERWISE = "export --to safetensors, and load_state_dict that into its network"
SUFFIXES = {"state_dict": "pt", "safetensors": "safetensors", "torch_export": "pt2", "onnx": "onnx"}


def export(argv: Sequence[str], prog: str) -> None:
    """Take the model out of a run, from its newest checkpoint.

    It is the master, with batch-norm statistics of its own. Forms (--to):
    """
    parser = Parser(f"{prog} export", (export.__doc__ or "").strip(), TENSORS | GRAPHS)
    parser.add_argument("run", metavar="RUN", help="a run folder, or its URI")
    parser.add_argument("--to", choices=[*TENSORS, *GRAPHS], required=True)
    parser.add_argument("--checkpoint", metavar="NAME", help="of RUN; the newest if not given")
    parser.add_argument("--out", type=Path, metavar="FILE", help="RUN/model.SUFFIX if not given")
    given = parser.read(argv)
    run = open_folder(given.run)
    name = checkpoint.choose(run, given.checkpoint)
    where = Path(run.path) if isinstance(run, LocalFolder) else Path()
    out: Path = given.out or where / f"model.{SUFFIXES[given.to]}"
    if not out.parent.is_dir():
        raise InputError(f"out: there is no folder {out.parent} for {out.name}; make it")
    if given.to == "onnx":
        graphs.check_onnx()
    state = checkpoint.load_model(run, name)
    try:
        told = _write(run, state, given.to, out)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{out} cannot be written ({error}); give --out") from error
    print(f"  {name} -> {out}     {size(out.stat().st_size)}")
    print("\n".join(f"  {line}" for line in told))


def _write(run: Folder, state: dict[str, Tensor], to: str, out: Path) -> list[str]:
    """Write the file; what there is to say of it."""
    if to == "state_dict":
        torch.save(state, out)
    elif to == "safetensors":
        save_file(state, out)
    if to in TENSORS:
        return [f"{len(state)} tensors, {sum(t.numel() for t in state.values()):,} numbers"]
    net = _rebuild(run, state)
    write = graphs.torch_export if to == "torch_export" else graphs.onnx
    difference = write(net.module, net.image_shape, out)
    shape = ", ".join(map(str, net.image_shape))
    seen = "not compared: pip install onnxruntime"
    if difference is not None:
        seen = f"outputs differ from the network's by {difference:.2g} at most"
    return [f"input float32 (any, {shape}): (pixel - {net.mean}) / {net.std}", seen]


@dataclass(frozen=True)
class Network:
    """A network as it was trained, in `eval()` mode.

    Attributes:
        image_shape: (C, H, W).
        mean, std: of each channel, by which images were normalised.
    """

    module: nn.Module
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def _rebuild(run: Folder, state: dict[str, Tensor]) -> Network:
    """The network that the run's configuration names.

    Raises:
        InputError: it names none, or another.
    """
    config = config_of(run, OTHERWISE)
    name = config.data.name
    if name not in NAMES:
        raise InputError(
            f"--to: a network of {name} cannot be exported, only those of images; export --to "
            "safetensors and load_state_dict that into the network"
        )
    facts: Any = load(name)[0] if name == "digits" else FACTS[name]
    module = build(config.model.name, facts.num_classes, facts.image_shape, **config.model.args)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(
            f"{run}: the checkpoint is not of {config.model.name} as it is now ("
            f"{' '.join(str(error).split())[:200]}); export --to safetensors needs no network"
        ) from error
    return Network(module.eval(), facts.image_shape, tuple(facts.mean), tuple(facts.std))

"""A network as a graph, for torch.export and ONNX, and held against the network itself."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parle_ray.errors import InputError

EXAMPLE, OTHER = 2, 5
"""Images in the batch that a graph is made from, and in the one that it is compared with."""
ONNX = "onnx onnxscript onnxruntime"


def check_onnx() -> None:
    """See whether ONNX can be written.

    Raises:
        InputError: names what to install.
    """
    missing = [name for name in ("onnx", "onnxscript") if not find_spec(name)]
    if missing:
        raise InputError(f"to: {' and '.join(missing)} not installed; pip install {ONNX}")


def torch_export(module: nn.Module, shape: tuple[int, ...], out: Path) -> float:
    """Write a `torch.export` program that takes batches of any size.

    Args:
        module: in `eval()` mode.
        shape: of one example.
        out: the file.

    Returns:
        By how much its outputs differ from the module's at most.
    """
    size = ({0: torch.export.Dim.DYNAMIC},)
    program = _made(
        lambda: torch.export.export(module, (_batch(EXAMPLE, shape),), dynamic_shapes=size)
    )
    torch.export.save(program, out)
    return _difference(module, torch.export.load(out).module(), shape)


def onnx(module: nn.Module, shape: tuple[int, ...], out: Path) -> float | None:
    """Write an ONNX model that takes batches of any size.

    The arguments are those of `torch_export`.

    Returns:
        By how much its outputs differ from the module's at most; None without onnxruntime.
    """
    size = ({0: torch.export.Dim.DYNAMIC},)
    program = _made(
        lambda: torch.onnx.export(
            module, (_batch(EXAMPLE, shape),), dynamo=True, dynamic_shapes=size, verbose=False
        )
    )
    program.save(out)
    if not find_spec("onnxruntime"):
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    return _difference(
        module, lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0]), shape
    )


def _made(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:  # of the compiler, about the network: of nearly any kind
        first = str(error).strip().split("\n")[0]
        raise InputError(
            f"to: the network cannot be made a graph ({type(error).__name__}: {first[:200]}); "
            "export --to safetensors needs none"
        ) from error


def _difference(
    module: nn.Module, other: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> float:
    with torch.no_grad():
        x = _batch(OTHER, shape)
        return float((module(x) - other(x)).abs().max())


def _batch(num: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(0))

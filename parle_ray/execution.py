"""How a replica executes a step: device, precision, compilation, memory format, threads."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from parle_ray.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Execution:
    """What does not change the algorithm, only how fast its steps run.

    Attributes:
        device: `"cpu"`, `"cuda"`, `"cuda:1"`; None takes the replica's GPU if it has one.
        autocast: `"bfloat16"` runs forward and backward in mixed precision; the vectors stay in
            the module's own dtype. None is full precision.
        compile: True, or the name of a backend, runs the module through `torch.compile`.
        channels_last: 4-D inputs are laid out channels last, which convolutions on GPUs prefer.
        num_threads: CPU threads of each process; None takes the replica's CPUs, 1 outside Ray.
        num_processes: of a replica, on one node, with a GPU each if it has GPUs: each takes a part
            of every mini-batch, and their gradients are averaged. `loss_fn` should be a mean over
            the examples. One process comes to the same bits, part by part. Those of a strategy that
            `walks_apart` take whole mini-batches of their own.
        shard_state: each process keeps the vectors of strategy and optimiser for its own stretch
            of the parameters alone; for an optimiser that treats each parameter by itself.
        shard_parameters: each process keeps its own rows alone of every parameter, its gradient and
            the vectors of strategy and optimiser (FSDP); for an optimiser that treats each value by
            itself.
        num_microbatches: the layers of the module are divided among the processes, and every
            mini-batch goes through them in so many parts (a pipeline). None: each has all layers.
        num_pipelines: the processes are so many pipelines, each with all layers and its part of the
            micro-batches.
    """

    device: str | None = None
    autocast: str | None = None
    compile: bool | str = False
    channels_last: bool = False
    num_threads: int | None = None
    num_processes: int = 1
    shard_state: bool = False
    shard_parameters: bool = False
    num_microbatches: int | None = None
    num_pipelines: int = 1

    def __post_init__(self) -> None:
        if self.autocast not in (None, "bfloat16"):
            raise InputError(
                f"autocast must be 'bfloat16' or None, got {self.autocast!r}; float16 needs "
                "gradient scaling, which is not offered"
            )
        if self.num_threads is not None and self.num_threads < 1:
            raise InputError(f"num_threads must be >= 1, got {self.num_threads}")
        if self.num_processes < 1:
            raise InputError(f"num_processes must be >= 1, got {self.num_processes}")
        if self.num_microbatches is not None and self.num_microbatches < 1:
            raise InputError(f"num_microbatches must be >= 1 or None, got {self.num_microbatches}")
        if self.num_processes == 1 and self.divides_module:
            raise InputError(
                f"{self.shared_by[-1]}: a replica of one process has nobody to share with; set "
                "num_processes, or leave it out"
            )
        if self.num_pipelines < 1 or (self.num_pipelines > 1 and not self._has_pipelines):
            raise InputError(
                f"num_pipelines must be >= 1, got {self.num_pipelines}; with p of them set "
                f"num_processes (now {self.num_processes}) to 2 p, 3 p, ..., as many as a pipeline "
                f"has stages, and num_microbatches (now {self.num_microbatches}) to p or more"
            )
        if len(self.shared_by) > 1:
            raise InputError(
                f"{' and '.join(self.shared_by)}: give one of them; each shares the state of "
                "strategy and optimiser, and all but shard_state the parameters too"
            )

    @property
    def shared_by(self) -> list[str]:
        """The setting by which each process keeps a share alone of what others may keep whole."""
        asked = {
            "shard_state": self.shard_state,
            "shard_parameters": self.shard_parameters,
            "num_microbatches": self.num_microbatches is not None,
        }
        return [name for name, is_asked in asked.items() if is_asked]

    @property
    def divides_module(self) -> bool:
        """Whether no process of a replica has the whole module."""
        return self.shard_parameters or self.num_microbatches is not None

    @property
    def _has_pipelines(self) -> bool:
        length, rest = divmod(self.num_processes, self.num_pipelines)
        return length > 1 and not rest and self.num_pipelines <= (self.num_microbatches or 0)

    @property
    def num_parts(self) -> int:
        """Into how many parts a mini-batch is cut."""
        return self.num_microbatches or self.num_processes

    def resolve_device(self) -> torch.device:
        """The device this process computes on.

        Raises:
            InputError: CUDA was asked for and is not here.
        """
        name = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        device = torch.device(name)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise InputError(
                f"device {name!r}: this process sees no GPU; set use_gpu=True in ScalingConfig "
                "so that Ray gives the replica one, or device='cpu'"
            )
        return device

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module that the loss function is given: the same, or compiled."""
        if not self.compile:
            return module
        backend = self.compile if isinstance(self.compile, str) else "inductor"
        return cast(nn.Module, torch.compile(module, backend=backend))

    @contextmanager
    def threads(self, default: int = 1) -> Iterator[None]:
        """Within it torch uses this many CPU threads; sums depend on their number."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.num_threads or default)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """The context in which the loss is computed."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(device.type, dtype=torch.bfloat16)

    def place(self, batch: Any, device: torch.device) -> Any:
        """The batch on the device, and channels last if that is asked for."""

        def move(tensor: Tensor) -> Tensor:
            tensor = tensor.to(device, non_blocking=True)
            if self.channels_last and tensor.dim() == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            return tensor

        return map_tensors(move, batch)


def map_tensors(change: Callable[[Tensor], Any], tree: Any) -> Any:
    """The same nest of dicts, lists and tuples with every tensor changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, Mapping):  # of any kind: transformers' BatchEncoding is no dict
        changed = {key: map_tensors(change, value) for key, value in tree.items()}
        try:
            return type(tree)(changed)  # type: ignore[call-arg]
        except TypeError:  # a mapping that is made otherwise, such as defaultdict
            return changed
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(change, value) for value in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(map_tensors(change, value) for value in tree)
    return tree


def moved(batches: Any, device: torch.device) -> Any:
    """Batches that can move themselves, such as our `ImageLoader`, moved; others as they are."""
    if not hasattr(batches, "to"):
        return batches
    there = batches.to(device)
    return batches if there is None else there


def num_samples(batch: Any) -> int:
    """The length of the first tensor found in a batch: how many examples it holds."""
    found: list[int] = []
    map_tensors(lambda tensor: found.append(len(tensor)) if tensor.dim() else None, batch)
    return found[0] if found else 1

"""A module's trainable parameters and gradients as two contiguous vectors."""

from collections.abc import Iterator
from itertools import accumulate, compress, pairwise

import torch
from torch import Tensor, nn

from parle_ray.errors import InputError
from parle_ray.share import WHOLE, Share


class FlatModule:
    """A module whose trainable parameters are views of one vector, and their gradients of another.

    Algorithms read and write `vector` and `vector.grad`; the module sees every change at once,
    because it holds views, and nothing is ever gathered or scattered.

    Tied parameters appear once. Frozen parameters (`requires_grad=False`) and buffers, such as
    batch-norm statistics, stay where they are: they are neither moved nor sent.

    Attributes:
        module: the module itself, changed in place.
        vector: `(num_params,)`, in the order of `module.parameters()`, of the module's dtype.
            `vector.grad`, of the same shape, holds the gradient.
        share: which values of the whole module's vector these are: all, unless a subclass has
            those of one process alone.

    Raises:
        InputError: the module has no trainable parameter, or they differ in dtype or device, or
            are complex or not yet initialised.
    """

    share: Share = WHOLE

    def __init__(self, module: nn.Module) -> None:
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        _check(module, named)
        self.module = module
        self.names = [name for name, _ in named]
        self.parameters = [p for _, p in named]
        self._places = [
            (module.get_submodule(path)._parameters, local)
            for path, _, local in (name.rpartition(".") for name, _ in named)
        ]
        self.vector = torch.cat([p.detach().reshape(-1) for p in self.parameters])
        self.vector.grad = torch.zeros_like(self.vector)
        for p, value, gradient in zip(
            self.parameters, self.split(self.vector), self.split(self.vector.grad), strict=True
        ):
            p.data = value
            p.grad = gradient

    @property
    def gradient(self) -> Tensor:
        """The flat gradient, `(num_params,)`."""
        gradient = self.vector.grad
        assert gradient is not None
        return gradient

    @property
    def optimised(self) -> list[nn.Parameter]:
        """What the user's optimiser is made for: of the whole module, in its order."""
        return self.parameters

    def stand_at(self, whole: Tensor) -> None:
        """Take one's own values of a whole vector."""
        self.vector.copy_(self.share.of(whole))

    def load(self) -> None:
        """The module is about to be used: a view sees what the vector is."""

    def collect(self) -> None:
        """The module's gradients were computed: a view has put them where they belong."""

    def split(self, vector: Tensor) -> Iterator[Tensor]:
        """Views of `vector` in the shapes of the parameters, in their order."""
        start = 0
        for p in self.parameters:
            yield vector[start : start + p.numel()].view(p.shape)
            start += p.numel()

    def inside(self, part: slice) -> list[nn.Parameter]:
        """The parameters in `part` of the vector, which cuts none."""
        starts = [0, *accumulate(p.numel() for p in self.parameters)]
        within = [part.start <= start and stop <= part.stop for start, stop in pairwise(starts)]
        return list(compress(self.parameters, within))

    def cut(self, part: slice) -> "FlatModule":
        """The parameters in `part` of the vector alone; the others are frozen and left behind."""
        start = 0
        for p in self.parameters:
            stop = start + p.numel()
            if not part.start <= start <= stop <= part.stop:
                assert stop <= part.start or start >= part.stop, "a parameter is never cut"
                p.grad = None
                p.requires_grad_(False)
                p.data = p.data.new_empty(0)
            start = stop
        return FlatModule(self.module)

    def gather_gradients(self) -> None:
        """Copy home the gradients that others keep, as after `zero_grad(set_to_none=True)`."""
        for p, home in zip(self.parameters, self.split(self.gradient), strict=True):
            if p.grad is None:
                home.zero_()
            elif p.grad.data_ptr() != home.data_ptr():
                home.copy_(p.grad)
            p.grad = home

    def check_views(self) -> None:
        """Notice that somebody replaced a parameter or a gradient behind the vectors' back.

        Raises:
            InputError: names the parameter, the likely cause and the remedy.
        """
        size = self.vector.element_size()
        value, gradient = self.vector.data_ptr(), self.gradient.data_ptr()
        for name, p, (owner, local) in zip(self.names, self.parameters, self._places, strict=True):
            if p.numel() == 0:
                continue  # nothing to see, and its data_ptr() is 0
            if p.data_ptr() != value or owner.get(local) is not p:
                raise InputError(
                    f"the parameter {name!r} is no longer a view of the flat vector: move or cast "
                    "the module (.to(), .half()) in model_fn, before training starts; model_fn "
                    "must build a new module at every call"
                )
            if p.grad is None or p.grad.data_ptr() != gradient:
                raise InputError(
                    f"the gradient of {name!r} is no longer a view of the flat gradient: "
                    "zero_grad(set_to_none=True), the default of torch, replaces it; call "
                    "zero_grad(set_to_none=False), or the zero_grad() of ReplicaOptimizer"
                )
            value += p.numel() * size
            gradient += p.numel() * size


def _check(module: nn.Module, named: list[tuple[str, nn.Parameter]]) -> None:
    if not named:
        raise InputError(
            f"model: {type(module).__name__} has no trainable parameter; "
            "give a model with at least one parameter whose requires_grad is True"
        )
    for name, p in named:
        if isinstance(p, nn.parameter.UninitializedParameter):
            raise InputError(
                f"model: parameter {name!r} is lazy; run one batch through the model in model_fn"
            )
        if not p.is_floating_point():
            raise InputError(
                f"model: parameter {name!r} is {p.dtype}; trainable parameters must be real "
                "floating point (torch.view_as_real for complex ones)"
            )
    for kind, seen in (
        ("dtype", {p.dtype for _, p in named}),
        ("device", {p.device for _, p in named}),
    ):
        if len(seen) > 1:
            raise InputError(
                f"model: trainable parameters have more than one {kind} "
                f"({', '.join(sorted(map(str, seen)))}); make them one in model_fn with .to(...)"
            )

"""What a run ended with, read from a checkpoint without going on from it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from parle_ray.cluster.wire import unpack_tree
from parle_ray.errors import InputError, printable
from parle_ray.flat import FlatModule
from parle_ray.runs import checkpoint
from parle_ray.runs.storage import Folder


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A checkpoint's parameters.

    Attributes:
        name: of the checkpoint.
        round: rounds closed.
        state: the model as a `state_dict`, batch-norm statistics re-estimated: the master, unless
            the strategy says otherwise.
        master: `(num_params,)`.
        replicas: rank -> `(num_params,)`: where each stood when it had pushed.
    """

    name: str
    round: int
    state: dict[str, Tensor]
    master: Tensor
    replicas: dict[int, Tensor]

    def place(self, flat: FlatModule) -> None:
        """Make a module the model of this solution, statistics and all.

        Raises:
            InputError: the module is another model than the run's.
        """
        own = {name: tensor.shape for name, tensor in flat.module.state_dict().items()}
        for name in sorted(own.keys() | self.state.keys()):
            there = self.state[name].shape if name in self.state else None
            if own.get(name) != there:
                raise InputError(
                    f"{self.name}: it is of another model: {printable(name)} is {_shape(there)} "
                    f"there and {_shape(own.get(name))} here; give the run's own configuration"
                )
        flat.module.load_state_dict(self.state)
        vectors = [self.master, *self.replicas.values()]
        if any(vector.shape != flat.vector.shape for vector in vectors):
            raise InputError(f"{self.name}: its vectors are not of the length of its own model")


def read_solution(run: Folder, name: str | None = None) -> Solution:
    """The solution in a checkpoint of a run, by default the newest.

    Raises:
        InputError: there is no such checkpoint, or it is damaged.
        StorageError: the storage cannot be reached.
    """
    chosen = checkpoint.choose(run, name)
    cut = checkpoint.load(run, chosen)
    return Solution(
        name=f"{run}/{chosen}",
        round=cut.round,
        state=checkpoint.load_model(run, chosen),
        master=unpack_tree(cut.resume.master["vector"]),
        replicas={
            rank: unpack_tree(cut.resume.replicas[rank]["vector"])
            for rank in sorted(cut.resume.replicas)
        },
    )


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else str(tuple(shape))

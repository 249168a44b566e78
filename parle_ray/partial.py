"""The user's optimiser on some of its parameters, with the state of one that has them all."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer


class Partial:
    """Lets an optimiser go of some parameters, as of frozen ones, and names the others as before.

    So the states of several parts of one optimiser, put together, are the state of the whole,
    and each part takes its own out of that.

    Args:
        inner: made for all parameters, so that it groups them as it always does.
        keeps: whether a parameter is one of the part's.
        rows: those that the part has of a parameter which it keeps.
    """

    def __init__(
        self,
        inner: Optimizer,
        keeps: Callable[[Tensor], bool] = lambda p: p.requires_grad,
        rows: Callable[[Tensor], slice] = lambda p: slice(None),
    ) -> None:
        self._inner = inner
        self._names = [group["params"] for group in inner.state_dict()["param_groups"]]
        self._kept: list[int] = []
        self._rows: list[slice] = []
        for group, names in zip(inner.param_groups, self._names, strict=True):
            pairs = list(zip(group["params"], names, strict=True))
            for p, _ in pairs:
                if not keeps(p):
                    inner.state.pop(p, None)
            group["params"] = [p for p, _ in pairs if keeps(p)]
            self._kept += [name for p, name in pairs if keeps(p)]
            self._rows += [rows(p) for p, _ in pairs if keeps(p)]

    def state_dict(self) -> dict[str, Any]:
        """The part's state, under the names of the whole."""
        own = self._inner.state_dict()
        return {
            "state": {self._kept[i]: state for i, state in own["state"].items()},
            "param_groups": [
                group | {"params": names}
                for group, names in zip(own["param_groups"], self._names, strict=True)
            ],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the part's own out of the whole's state."""
        own, whole = self._inner.state_dict(), state["state"]
        kept = enumerate(zip(self._kept, self._rows, strict=True))
        self._inner.load_state_dict(
            {
                "state": {i: _cut(whole[name], rows) for i, (name, rows) in kept if name in whole},
                "param_groups": [
                    saved | {"params": mine["params"]}
                    for saved, mine in zip(state["param_groups"], own["param_groups"], strict=True)
                ],
            }
        )


def _cut(slots: dict[str, Any], rows: slice) -> dict[str, Any]:
    """What an optimiser has of some rows of a parameter; a number is everybody's."""
    return {
        key: value[rows] if isinstance(value, Tensor) and value.dim() else value
        for key, value in slots.items()
    }

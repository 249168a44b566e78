"""`ReplicaOptimizer`: a strategy inside the user's own training loop."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from parle_ray.errors import InputError, all_diverged
from parle_ray.execution import map_tensors
from parle_ray.flat import FlatModule
from parle_ray.fold import Fold, placed
from parle_ray.moving import inside, length, merge
from parle_ray.replica import Replica, Reply
from parle_ray.schedules import Plan
from parle_ray.strategies import Strategy


class ReplicaOptimizer(Optimizer):
    """Makes this process one replica: wraps an optimiser, and exchanges once in L steps.

        optimizer = ReplicaOptimizer(model, torch.optim.SGD(model.parameters(), lr=0.1), Parle())
        for batch in loader:
            optimizer.zero_grad()
            loss_fn(model, batch).backward()
            optimizer.step()

    Where torch.distributed is initialised, as inside Ray Train's `TorchTrainer`, its processes
    are the replicas: they gather what each pushed, and every one keeps the master, by the same
    arithmetic in the order of the ranks, so all hold the same bits. An overlapping strategy
    gathers while the next L steps run. Without torch.distributed there is one replica.

    Do not wrap the model in DistributedDataParallel: replicas walk apart on purpose.

    Gradients may be accumulated, clipped, and set to None between steps. A step that a
    `torch.amp.GradScaler` leaves out, because of an infinite gradient, still counts as one of
    the L, so that all replicas exchange at the same step.

    Args:
        model: on its device already; its parameters become views of one vector.
        inner: the optimiser of the local steps, on this model's parameters. Its `param_groups`
            are this optimiser's too, so learning-rate schedulers work on either.
        strategy: the algorithm.
        num_rounds: length of the run; without it, schedules of its progress (`Geometric`,
            `Cosine`) stay at their first value.
        batches_per_pass: mini-batches in a pass over the data, for the paper's scoping.

    Attributes:
        master: `(num_params,)`, the master parameters. `swap_master` puts them into the model.
        shows_master: whether `swap_master` has put them there.
        steps: taken or left out so far.

    Raises:
        InputError: the strategy steps the master itself (`SGD`): use DistributedDataParallel; or
            it is asynchronous, or looks at losses (`AutoSplash`); or it weights by samples, which
            the loop alone sees; or it is uneven, where all loops exchange at the same step.
        Diverged: no replica has finite parameters left.
    """

    _step_supports_amp_scaling = True  # torch's word: GradScaler calls step() in any case

    def __init__(
        self,
        model: nn.Module,
        inner: Optimizer,
        strategy: Strategy,
        *,
        num_rounds: int | None = None,
        batches_per_pass: int | None = None,
    ) -> None:
        if strategy.steps_master:
            raise InputError(
                f"strategy: {type(strategy).__name__} averages every gradient, which "
                "DistributedDataParallel does; wrap the model in that and use the optimiser alone"
            )
        if not strategy.synchronous:
            raise InputError(
                f"strategy: {type(strategy).__name__} is asynchronous, which only ParleTrainer "
                "and simulate are; use ElasticSGD or LocalSGD here"
            )
        if strategy.exchanges_numbers:
            raise InputError(
                f"strategy: {type(strategy).__name__} looks at the losses of mini-batches, which "
                "an optimiser is not told; use ParleTrainer or simulate, or LocalSGD here"
            )
        if strategy.weighting != "replicas":
            raise InputError(
                f"weighting: {strategy.weighting!r} needs to see the batches, which only "
                "ParleTrainer and simulate do; use 'replicas' here"
            )
        if strategy.uneven:
            raise InputError(
                "uneven: True needs a coordinator that says how far each replica walks, which "
                "only ParleTrainer and simulate have; use False here"
            )
        self.defaults = inner.defaults
        self.inner = inner
        strategy = strategy.bind(Plan(num_rounds=num_rounds, batches_per_pass=batches_per_pass))
        self._strategy = strategy
        self._flat = FlatModule(model)
        self._world = dist.get_world_size() if dist.is_initialized() else 1
        if self._world > 1:
            dist.broadcast(self._flat.vector, src=0)
        self._rank = dist.get_rank() if self._world > 1 else 0
        self._replica = Replica(self._flat, inner, strategy, self._rank, self._world)
        self.master = self._flat.vector.clone()
        self._master_state = strategy.init_master(self.master)
        self.shows_master = False
        self.steps = 0
        self._fold = Fold(self.master)
        self._under_way: tuple[Any, list[Tensor]] | None = None

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The inner optimiser's."""
        return self.inner.param_groups

    @property
    def state(self) -> Any:  # type: ignore[override]
        """The inner optimiser's."""
        return self.inner.state

    @property
    def round(self) -> int:
        """The round that is open."""
        return self._strategy.round_at(self.steps)

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set the gradients to zero, in place: they are views of the flat gradient."""
        self._flat.gradient.zero_()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One local step; after the L-th, the exchange."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._flat.gather_gradients()
        scale = getattr(self, "grad_scale", None)  # a GradScaler's, as is found_inf
        if scale is not None:
            self._flat.gradient.div_(scale)
        if not getattr(self, "found_inf", False):
            self._replica.local_step(self.round)
        self.leave_out()
        return loss

    @torch.no_grad()
    def leave_out(self) -> None:
        """Count a step that a loop has left out, as one does whose gradient was infinite.

        Every replica must count the same steps, since it is at a step that they exchange.
        """
        round, strategy = self.round, self._strategy
        self.steps += 1
        walked = self.steps - strategy.steps_before(round)
        if self.round > round:
            self._exchange(round)
        elif walked % (strategy.steps(round) // strategy.num_legs) == 0:
            self._replica.rest(round)
            self._replica.meet(self._flat.vector)

    def _exchange(self, round: int) -> None:
        if self._strategy.overlaps:
            self._merge(round - 1)
            self._replica.end(round, self._reply(round - 1))
            self._replica.meet(self._flat.vector)
            self._gather(self._replica.push(round), round)
        else:
            self._gather(self._replica.push(round), round)
            self._merge(round)
            self._replica.begin(round + 1, self._reply(round))

    def _reply(self, round: int) -> Reply:
        whole = self._strategy.reply(self.master, self._master_state)
        part = self._strategy.moves(round, len(whole))
        return Reply(whole[part], part=part)

    def _gather(self, push: Tensor, round: int) -> None:
        """What the round moves of every replica's vector; all gather the same number of values."""
        num_params, strategy = len(self.master), self._strategy
        moves = strategy.moves(round, num_params)
        sends = strategy.sends(round, num_params, self._rank, self._world)
        mine = placed(push, inside(sends, moves), push.new_empty(length(moves)))
        if self._world == 1:
            self._under_way = (None, [mine])
            return
        everyone = [torch.empty_like(mine) for _ in range(self._world)]
        self._under_way = (dist.all_gather(everyone, mine, async_op=True), everyone)

    def _merge(self, round: int) -> None:
        if self._under_way is None:
            return
        work, pushed = self._under_way
        if work is not None:
            work.wait()
        self._under_way = None
        self._fold.begin(len(pushed[0]))
        for vector in pushed:
            self._fold.add(vector)
        if not self._fold.count:
            raise all_diverged(round)
        merge(self._strategy, self.master, self._master_state, self._fold.close(), round)
        self._strategy.follow(self.master, self._master_state, round)

    def swap_master(self) -> None:
        """Exchange the model's parameters with the master's, for evaluation; call it again after.

        Where a strategy evaluates another vector than the master, such as a mean over time, it is
        that one.

        Batch-norm statistics stay the replica's: re-estimate them before evaluating
        (`torch.optim.swa_utils.update_bn`). Waits for an exchange that is under way.
        """
        self._merge(self.round - 1)
        shown = self._strategy.model(self.master, self._master_state)
        mine = self._flat.vector.clone()
        self._flat.vector.copy_(shown)
        shown.copy_(mine)
        self.shows_master = not self.shows_master

    def state_dict(self) -> dict[str, Any]:  # type: ignore[override]
        """The inner optimiser's, the replica's and the master's; waits for the exchange."""
        shown = self.shows_master
        if shown:
            self.swap_master()
        self._merge(self.round - 1)
        state = {
            "inner": self.inner.state_dict(),
            "rank": self._rank,
            "replica": self._replica.state,
            "fresh": self._replica.fresh,
            "vector": self._flat.vector,
            "master": self.master,
            "master_state": self._master_state,
            "steps": self.steps,
        }
        if shown:  # the tensors above are views, which the next line would exchange
            state = map_tensors(Tensor.clone, state)
            self.swap_master()
        return state

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:  # type: ignore[override]
        """Go on from a saved state, the model's parameters included.

        That of another rank, where a loop saves one for all, gives the master and the inner
        optimiser's state; this replica starts from them, as one does that replaces a lost one.
        """
        self.master.copy_(state_dict["master"])
        self._master_state = {k: v.clone() for k, v in state_dict["master_state"].items()}
        if state_dict.get("rank", self._rank) == self._rank:
            self._flat.vector.copy_(state_dict["vector"])
            self._replica.take({k: v.clone() for k, v in state_dict["replica"].items()})
            self._replica.fresh = state_dict["fresh"]
        else:
            self._replica.start_from(self.master)
        self.inner.load_state_dict(state_dict["inner"])
        self.steps = state_dict["steps"]
        self.shows_master = False
        self._under_way = None

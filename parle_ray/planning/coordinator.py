"""The coordinator on a virtual clock: folds in the order of ranks, closes, delivers."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from parle_ray.master import Master
from parle_ray.moving import length
from parle_ray.planning.clock import Action, Cores, Node
from parle_ray.planning.scenario import Scenario
from parle_ray.strategies import Strategy
from parle_ray.task import Task

CALLS_A_ROUND = 2
"""Remote calls from a shard to a replica: for its next round, and with the reply."""


class Folder:
    """Folds what arrives in the order of the senders, one at a time, on the cores of a node.

    Args:
        seconds: of a fold.
        done: when all senders' are folded; then it begins anew.
    """

    def __init__(self, cores: Cores, senders: list[int], seconds: float, done: Action) -> None:
        self._cores, self._senders, self._seconds, self._done = cores, senders, seconds, done
        self._here: set[int] = set()
        self._folded, self._busy = 0, False

    def arrive(self, sender: int) -> None:
        """What `sender` has to give is here."""
        self._here.add(sender)
        self._next()

    def _next(self) -> None:
        if not self._busy and self._senders[self._folded] in self._here:
            self._busy = True
            self._cores.work(self._seconds, self._fold)

    def _fold(self) -> None:
        self._here.remove(self._senders[self._folded])
        self._folded, self._busy = self._folded + 1, False
        if self._folded < len(self._senders):
            self._next()
        else:
            self._folded = 0
            self._done()


def branch(scenario: Scenario, node: Node, send: Action) -> Callable[[int], None]:
    """In a tree: folds the pushes of a node's replicas when all are there; sends one vector up."""
    s = scenario
    put_s = s.reply_params * s.codec.bytes_per_param / s.memory_bytes_per_s
    fold_s = len(node.ranks) * 4 * s.reply_params / s.fold_bytes_per_s
    here: set[int] = set()

    def arrive(rank: int) -> None:
        here.add(rank)
        if len(here) == len(node.ranks):
            here.clear()
            node.cores.work(s.call_s + fold_s + put_s, send)

    return arrive


class Shard:
    """A coordinator of a part of the vector; a real `Master` keeps its ledger.

    Args:
        node: where it lives.
        nodes: all.
        receive: told the rank and the round, when a replica has the reply.

    Attributes:
        up_bytes: of its part of what is sent up, by a replica or in a tree by a node.
    """

    def __init__(
        self, scenario: Scenario, node: Node, nodes: list[Node], receive: Callable[[int, int], None]
    ) -> None:
        s = self._scenario = scenario
        self.node, self._nodes, self._receive = node, nodes, receive
        task = stand_in(s.strategy, s.num_replicas, s.num_rounds)
        self.master = Master(task, range(s.num_replicas))
        self._push = torch.zeros_like(self.master.vector)
        strategy = self.master.strategy
        self._numbers = strategy.tell(strategy.init_replica(self._push), torch.zeros(1), 1, 0)
        up = (s.reply_params if s.tree else s.push_params) / s.shards
        down = s.reply_params / s.shards
        self.up_bytes, self._down_bytes = (n * s.codec.bytes_per_param for n in (up, down))
        self._encode_s = down * s.codec.encode_s_per_param
        self._copy_s = self._down_bytes / s.memory_bytes_per_s
        fold_s = up * s.codec.decode_s_per_param + 4 * down / s.fold_bytes_per_s
        senders = list(range(s.nodes)) if s.tree else self.master.ranks
        calls = 1 + s.crowd if s.tree else 1  # replicas answer, and in a tree branches do as well
        self._folder = Folder(node.cores, senders, calls * s.call_s + fold_s, self._close)

    def arrive(self, sender: int) -> None:
        """The push of a rank, or in a tree the mean of a node, has been pulled here."""
        for rank in self._nodes[sender].ranks if self._scenario.tree else [sender]:
            place = self.master.place(rank, self.master.round)
            push = self._push[: length(place)]
            self.master.take(rank, self.master.round, push, numbers=self._numbers)
        self._folder.arrive(sender)

    def _close(self) -> None:
        assert not self.master.waiting
        nodes = sorted({self._scenario.node_of(rank) for rank in self.master.close()})
        deliver = partial(self._deliver, nodes, 0, self.master.round)
        self.node.cores.work(self._encode_s + self._copy_s, deliver)

    def _deliver(self, nodes: list[int], i: int, round: int) -> None:
        """Call the replicas of the i-th node, which begins to pull the reply; then the next."""
        if i == len(nodes):
            return
        s, node = self._scenario, self._nodes[nodes[i]]

        def called() -> None:
            pulled = partial(self._pulled, node, round)
            self.node.send(node, self._down_bytes, s.latency_s, pulled)
            self._deliver(nodes, i + 1, round)

        self.node.cores.work(CALLS_A_ROUND * len(node.ranks) * s.call_s, called)

    def _pulled(self, node: Node, round: int) -> None:
        for rank in node.ranks:  # each reads it where it lies
            node.cores.work(self._scenario.call_s, partial(self._receive, rank, round))


def stand_in(strategy: Strategy, num_replicas: int, num_rounds: int, num_params: int = 1) -> Task:
    """A task whose model is one vector of zeros, for a `Master` of which times alone matter."""

    def vector() -> nn.Module:
        module = nn.Module()
        module.register_parameter("vector", nn.Parameter(torch.zeros(num_params)))
        return module

    return Task(
        model_fn=vector,
        loss_fn=lambda module, batch: torch.zeros(()),
        batches_fn=lambda rank, n: [],
        strategy=strategy,
        inner_optimizer_fn=partial(torch.optim.SGD, lr=0.1),
        num_replicas=num_replicas,
        num_rounds=num_rounds,
    ).fitted_to(1)

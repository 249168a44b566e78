"""The rounds of a run on a virtual clock: who computes, copies, sends and waits, and for how long.

A round of a replica, and of each shard of the coordinator, as in `parle_ray.cluster`:

    overlapping    walk L steps;  wait for the reply;  decode, encode;  push into the store
    blocking       wait for the reply;  decode;  walk L steps;  encode;  push into the store
    shard          decode and fold each push, in rank order;  close;  put;  deliver to all nodes
    reply          once a node over its link; its replicas read it there
"""

from functools import partial

from parle_ray.planning.clock import Clock, Node
from parle_ray.planning.coordinator import Shard, branch
from parle_ray.planning.replica import SimulatedReplica
from parle_ray.planning.scenario import Scenario


class Run:
    """A simulated run.

    Attributes:
        replicas: with their times, by rank.
        nodes: with the bytes that crossed their links.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = s = scenario
        self._clock = clock = Clock()
        here: list[list[int]] = [[] for _ in range(s.nodes)]
        for rank in range(s.num_replicas):
            here[s.node_of(rank)].append(rank)
        self.nodes = [Node(clock, s.cores_per_node, s.link_bytes_per_s, ranks) for ranks in here]
        self.replicas = [
            SimulatedReplica(s, rank, clock, self.nodes[s.node_of(rank)].cores, self._pushed)
            for rank in range(s.num_replicas)
        ]
        self._shards = [
            Shard(s, node, self.nodes, lambda rank, round: self.replicas[rank].receive(round))
            for node in self.nodes[: s.shards]
        ]
        self._branches = [
            branch(s, node, partial(self._send_up, node, i)) for i, node in enumerate(self.nodes)
        ]

    def play(self) -> None:
        """All rounds, and the reply to the last."""
        for replica in self.replicas:
            replica.open()
        self._clock.run()
        assert all(shard.master.round == self._scenario.num_rounds for shard in self._shards)

    def _pushed(self, rank: int) -> None:
        i = self._scenario.node_of(rank)
        if self._scenario.tree:
            self._branches[i](rank)
        else:
            self._send_up(self.nodes[i], rank)

    def _send_up(self, node: Node, sender: int) -> None:
        """To each shard its part of the vector, of a rank or, in a tree, of a node."""
        for shard in self._shards:
            arrived = partial(shard.arrive, sender)
            node.send(shard.node, shard.up_bytes, self._scenario.latency_s, arrived)

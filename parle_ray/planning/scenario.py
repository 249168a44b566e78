"""A model, a strategy and a cluster, in numbers."""

from dataclasses import dataclass, field

from parle_ray import compression
from parle_ray.errors import InputError
from parle_ray.moving import length
from parle_ray.planning.checks import check_number, check_whole
from parle_ray.schedules import Schedule
from parle_ray.strategies import Parle, Strategy


@dataclass(frozen=True, kw_only=True)
class Codec:
    """How a vector is written while it travels, pushes and replies alike.

    Attributes:
        bytes_per_param: on the wire.
        encode_s_per_param, decode_s_per_param: on one core.
    """

    bytes_per_param: float
    encode_s_per_param: float
    decode_s_per_param: float

    def __post_init__(self) -> None:
        check_number("bytes_per_param", self.bytes_per_param, "4 is float32, 2 is bfloat16")
        for name in ("encode_s_per_param", "decode_s_per_param"):
            check_number(
                name, getattr(self, name), "1e-9 is a nanosecond a parameter", positive=False
            )


def _typical(name: str, encode_s_per_param: float, decode_s_per_param: float) -> Codec:
    length = 2**20
    return Codec(
        bytes_per_param=compression.CODECS[name]().encoded_bytes(length) / length,
        encode_s_per_param=encode_s_per_param,
        decode_s_per_param=decode_s_per_param,
    )


CODECS: dict[str, Codec] = {
    "none": _typical("none", 0.0, 0.0),
    "bf16": _typical("bf16", 2.5e-9, 1.5e-9),
    "int8": _typical("int8", 4e-9, 2e-9),
    "int4": _typical("int4", 5e-9, 2.5e-9),
}
"""From exact to coarse, with the speeds of one core of a small cloud machine, error feedback
included. `python -m parle_ray plan` measures them where it runs."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What `predict` plays.

    Attributes:
        num_replicas: n. Ranks fill the nodes in order, as evenly as they can.
        num_params: length of the model's vector; what a round moves of it the strategy says.
        step_s: one local step of a replica that has a core, or its GPU, for itself.
        batch_size: samples in a step.
        strategy: says L and whether it overlaps, and does the coordinator's arithmetic.
        nodes: machines that replicas live on; the coordinator's shards share the first of them.
        cores_per_node: what replicas, coordinator and copies share; two hardware threads of one
            core are about 1.3.
        link_bytes_per_s: of each node's link, in each direction.
        latency_s: from node to node.
        memory_bytes_per_s: at which a core copies a vector to or from the object store.
        fold_bytes_per_s: at which a core checks pushes and merges them into the master.
        call_s: what a remote call costs the core of either side.
        codec: see `Codec`.
        shards: S coordinators on S nodes, each with 1/S of the vector.
        tree: each node folds its replicas' pushes first, and one vector a node goes up; as in a
            run, without a codec and with one shard.
        spread: relative standard deviation of a replica's step time from round to round.
        seed: of the spread.
        num_rounds: length of the simulation; the first half is left out of the figures.
    """

    num_replicas: int
    num_params: int
    step_s: float
    batch_size: int = 1
    strategy: Strategy = field(default_factory=Parle)
    nodes: int = 1
    cores_per_node: float = 1.0
    link_bytes_per_s: float = 1.25e9
    latency_s: float = 1e-4
    memory_bytes_per_s: float = 5e9
    fold_bytes_per_s: float = 2e9
    call_s: float = 5e-4
    codec: Codec = CODECS["none"]
    shards: int = 1
    tree: bool = False
    spread: float = 0.0
    seed: int = 0
    num_rounds: int = 20

    def __post_init__(self) -> None:
        for name in ("num_replicas", "num_params", "batch_size", "nodes", "shards"):
            check_whole(name, getattr(self, name), 1)
        check_whole("num_rounds", self.num_rounds, 2)
        check_whole("seed", self.seed, 0)
        if not isinstance(self.strategy, Strategy):
            raise InputError(f"strategy must be a Strategy, got {self.strategy!r}; write Parle()")
        if isinstance(self.strategy.sync_every, Schedule):
            raise InputError(
                "strategy.sync_every: only rounds of one length are predicted; give a whole "
                f"number, got {self.strategy.sync_every!r}"
            )
        if not self.strategy.synchronous:
            raise InputError(
                f"strategy: {type(self.strategy).__name__} has no rounds to predict; LocalSGD with "
                "the same sync_every waits for everybody, so its round is the longest"
            )
        if not isinstance(self.codec, Codec):
            raise InputError(f"codec must be a Codec, got {self.codec!r}; take one of CODECS")
        check_number("step_s", self.step_s, "give the seconds of a local step, such as 0.02")
        check_number("cores_per_node", self.cores_per_node, "part of a core is allowed")
        for name in ("link_bytes_per_s", "memory_bytes_per_s", "fold_bytes_per_s"):
            fix = "give bytes per second, such as 1.25e9"
            check_number(name, getattr(self, name), fix, finite=False)
        for name in ("latency_s", "call_s"):
            check_number(name, getattr(self, name), "give seconds, such as 0.0005", positive=False)
        check_number(
            "spread", self.spread, "0.1 is a tenth of the step time, 0 is none", positive=False
        )
        self._check_nodes()

    def _check_nodes(self) -> None:
        if self.nodes > self.num_replicas:
            raise InputError(
                f"nodes must be <= num_replicas = {self.num_replicas}, got {self.nodes}; a node "
                "without a replica has nothing to do"
            )
        if self.shards > self.nodes:
            raise InputError(
                f"shards must be <= nodes = {self.nodes}, got {self.shards}; two on one node would "
                "share its link and gain nothing"
            )
        if self.shards > 1 and not self.strategy.moves_all:
            raise InputError(
                f"shards: {self.shards} with {type(self.strategy).__name__}, whose rounds move a "
                "stretch of the vector, which lies in one shard; leave out shards"
            )
        codec = self.codec
        if self.tree and (self.shards > 1 or codec.encode_s_per_param or codec.decode_s_per_param):
            raise InputError(
                f"tree: {self.tree} does not go with a codec or with shards = {self.shards} > 1 in "
                "a run; leave out one of them"
            )

    @property
    def push_params(self) -> int:
        """How many parameters a push has, in the first round."""
        sends = self.strategy.sends
        return length(sends(0, self.num_params, 0, self.num_replicas))

    @property
    def reply_params(self) -> int:
        """How many a reply has."""
        return length(self.strategy.moves(0, self.num_params))

    @property
    def walk_s(self) -> float:
        """L local steps on a core of their own."""
        return self.strategy.steps(0) * self.step_s

    @property
    def crowding(self) -> float:
        """How much longer a step takes on the fullest node, whose replicas share its cores."""
        return max(1.0, self.crowd / self.cores_per_node)

    @property
    def crowd(self) -> int:
        """Replicas on the fullest node."""
        return -(-self.num_replicas // self.nodes)

    @property
    def push_s(self) -> float:
        """A push into the object store, on a core of its own."""
        return self.push_params * self.codec.bytes_per_param / self.memory_bytes_per_s

    @property
    def decode_s(self) -> float:
        """A reply, on a core of its own."""
        return self.reply_params * self.codec.decode_s_per_param

    @property
    def encode_s(self) -> float:
        """A push, on a core of its own."""
        return self.push_params * self.codec.encode_s_per_param

    def node_of(self, rank: int) -> int:
        """Where a replica lives."""
        return rank * self.nodes // self.num_replicas

"""The arguments of `plan`, read into a `PlanConfig`."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from parle_ray.console.arguments import parse
from parle_ray.console.config import DataConfig, ModelConfig
from parle_ray.errors import InputError
from parle_ray.execution import Execution
from parle_ray.planning import CODECS, Codec, Scenario, bytes_per_s
from parle_ray.planning.checks import check_number, check_whole
from parle_ray.strategies import Parle, Strategy

LARGEST = 1024
"""Replicas in the last row, where nothing is said."""
NUM_ROUNDS = 8
"""Of a simulation without spread, which soon repeats itself; one with spread has 20."""
MEASURED = ("step_s", "num_params", "memory_bytes_per_s", "fold_bytes_per_s")
"""Measured here, where they are not given."""
SPEEDS = ("encode_s_per_param", "decode_s_per_param")


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """A model and a cluster. What is left out of a machine or a model is measured here.

    Attributes:
        data: whose steps to measure, as in train.
        model: whose steps to measure, as in train.
        execution: how they are computed, as in train.
        strategy: the algorithm, as in train.
        sync_every: L; null takes the strategy's in the table, and looks for the best below it.
        num_replicas: the largest n; null is 1024, or what the nodes hold.
        nodes: machines; replicas are spread over them. null is one for replicas_per_node of them.
        replicas_per_node: on each machine; null is 1, or what nodes leaves.
        cores_per_node: CPU cores that the replicas of a node share; null is this machine's.
        link: speed of a node's network link, such as 100Mbit/s, 25Gbit/s, 3GB/s.
        latency_ms: from node to node.
        step_s: seconds of a local step of a replica that has a core, or a GPU, for itself.
        num_params: trainable parameters.
        batch_size: samples in a step; null takes data.batch_size.
        memory_bytes_per_s: at which one core copies a vector.
        fold_bytes_per_s: at which the coordinator's core merges pushes.
        call_ms: what a remote call costs a core of either side.
        compression: of what travels; null is none in the table, and searched below it.
        encode_s_per_param: of the codec given, on one core; null measures it.
        decode_s_per_param: of the codec given, on one core; null measures it.
        shards: coordinators, each with a part of the vector; null is 1, and searched.
        tree: each node folds its replicas' pushes first; null is no, and searched.
        spread: relative standard deviation of a replica's step time from round to round.
        seed: of the spread.
        json: a file to write all figures to.
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    execution: Execution = field(default_factory=Execution)
    strategy: Strategy = field(default_factory=Parle)
    sync_every: int | None = None
    num_replicas: int | None = None
    nodes: int | None = None
    replicas_per_node: int | None = None
    cores_per_node: float | None = None
    link: str = "10Gbit/s"
    latency_ms: float = 0.1
    step_s: float | None = None
    num_params: int | None = None
    batch_size: int | None = None
    memory_bytes_per_s: float | None = None
    fold_bytes_per_s: float | None = None
    call_ms: float = 0.5
    compression: Literal["none", "bf16", "int8", "int4"] | None = None
    encode_s_per_param: float | None = None
    decode_s_per_param: float | None = None
    shards: int | None = None
    tree: bool | None = None
    spread: float = 0.0
    seed: int = 0
    json: str | None = None

    def __post_init__(self) -> None:
        for name in ("sync_every", "num_replicas", "nodes", "replicas_per_node", "shards"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        for name in ("latency_ms", "call_ms"):  # the others have the same names in a scenario
            check_number(name, getattr(self, name), "give milliseconds", positive=False)
        room = (self.nodes or LARGEST) * (self.replicas_per_node or LARGEST)
        if self.nodes and self.replicas_per_node and self.largest > room:
            raise InputError(
                f"num_replicas must be <= nodes x replicas_per_node = {room}, got {self.largest}; "
                "give more of either"
            )
        if self.compression is None:
            for name in SPEEDS:
                if getattr(self, name) is not None:
                    raise InputError(
                        f"{name}: it is the speed of one codec, got {getattr(self, name)}; say of "
                        "which with --compression"
                    )
        if self.json is not None and not Path(self.json).absolute().parent.is_dir():
            raise InputError(f"json: there is no folder for {self.json}; make it first")
        nodes = self.nodes_of(self.largest)
        if (self.shards or 1) > nodes:
            raise InputError(
                f"shards must be <= nodes, of which there are {nodes}, got {self.shards}; two on "
                "one node would share its link and gain nothing"
            )
        if self.step_s is None and self.execution.num_processes > 1:
            raise InputError(
                f"execution.num_processes: {self.execution.num_processes} processes of a replica "
                "are not timed here; give step_s from a run of one replica that has as many"
            )
        self.scenario(self.largest, self.codecs(CODECS))  # before anything is measured

    @property
    def largest(self) -> int:
        """n of the last row."""
        if self.num_replicas is not None:
            return self.num_replicas
        return self.nodes * (self.replicas_per_node or 1) if self.nodes else LARGEST

    def nodes_of(self, num_replicas: int) -> int:
        """The machines that n replicas need."""
        if self.nodes is not None:
            return min(self.nodes, num_replicas)
        return -(-num_replicas // (self.replicas_per_node or 1))

    def codecs(self, measured: Mapping[str, Codec]) -> dict[str, Codec]:
        """The codec that was given, with the speeds that were; else all."""
        if self.compression is None:
            return dict(measured)
        speeds = {name: getattr(self, name) for name in SPEEDS if getattr(self, name) is not None}
        return {self.compression: replace(measured[self.compression], **speeds)}

    def scenario(self, num_replicas: int, codecs: Mapping[str, Codec]) -> Scenario:
        """n replicas; what has yet to be measured is left at a placeholder."""
        strategy, nodes = self.strategy, self.nodes_of(num_replicas)
        if self.sync_every is not None:
            strategy = replace(strategy, sync_every=self.sync_every)
        known: dict[str, Any] = {"step_s": 1.0, "num_params": 1}
        for name in (*MEASURED, "batch_size"):
            if getattr(self, name) is not None:
                known[name] = getattr(self, name)
        return Scenario(
            **{"batch_size": self.data.batch_size} | known,
            num_replicas=num_replicas,
            strategy=strategy,
            nodes=nodes,
            cores_per_node=_cores() if self.cores_per_node is None else self.cores_per_node,
            link_bytes_per_s=bytes_per_s(self.link),
            latency_s=self.latency_ms / 1e3,
            call_s=self.call_ms / 1e3,
            codec=codecs[self.compression or "none"],
            shards=min(self.shards or 1, nodes),
            tree=self.tree or False,
            spread=self.spread,
            seed=self.seed,
            num_rounds=20 if self.spread else NUM_ROUNDS,
        )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_plan(argv: Sequence[str], prog: str, description: str) -> PlanConfig:
    """What `argv` asks for.

    Raises:
        InputError: one line that names the argument and the way out.
    """
    parser = ArgumentParser(
        prog=prog, description=description, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="a YAML file; later arguments win")
    parser.add_argument("--debug", action="store_true", help="show the traceback of any error")
    parser.add_class_arguments(PlanConfig, as_group=True, skip={"tree"})
    parser.add_argument(
        "--tree",
        nargs="?",
        const=True,
        type=bool | None,
        help="each node folds its replicas' pushes first; null is no, and searched",
    )
    parser.set_defaults(strategy={"class_path": "parle_ray.strategies.Parle"})
    given, values = parse(parser, argv, PlanConfig)
    names = [each.name for each in dataclasses.fields(PlanConfig) if each.name in given]
    return PlanConfig(**{name: values[name] for name in names})

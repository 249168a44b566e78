"""Masters of stretches, told the same, are one master; no bit depends on how many there are."""

import copy
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import ray
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from parle_ray.cluster.shard_actor import ShardActor
from parle_ray.cluster.shards import Shards
from parle_ray.cluster.states import cut_state, join_states
from parle_ray.cluster.wire import Packed, pack_tree, unpack_tree
from parle_ray.compression import CODECS, ReplicaEnd
from parle_ray.compression.codecs import CHUNK
from parle_ray.errors import InputError
from parle_ray.master import Master
from parle_ray.moving import length
from parle_ray.strategies import (
    SGD,
    AutoSplash,
    DiLoCo,
    ElasticSGD,
    EntropySGD,
    LocalSGD,
    Parle,
    Rotation,
    State,
    Strategy,
    TailAveraging,
)
from parle_ray.stretches import check_shards, is_finite, starts, stretches
from tests.problems import NUM_PARAMS, sgd, task

STRATEGIES: list[Strategy] = [
    Parle(),
    Parle(reference="mean_z"),
    EntropySGD(),
    ElasticSGD(),
    ElasticSGD(moving_rate=0.3),
    LocalSGD(),
    DiLoCo(),
    SGD(),
    TailAveraging(tail=0.8),
    Rotation(),
    AutoSplash(),
]
SIZES = [4, 1, 1]  # of the parameters of `Pieces`


def grouped_adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Groups by shape, the second named before the first: what one long vector could not have."""
    flat = [p for p in parameters if p.dim() < 2]
    deep = [p for p in parameters if p.dim() >= 2]
    return torch.optim.AdamW(
        [{"params": flat, "weight_decay": 0.0}, {"params": deep, "weight_decay": 0.1}], lr=0.1
    )


def masters(strategy: Strategy, parts: list[slice], **changes: Any) -> tuple[Master, list[Master]]:
    fitted = task(strategy, num_replicas=3, num_rounds=9, **changes).fitted_to(3)
    return Master(fitted, range(3)), [Master(fitted, range(3), part) for part in parts]


def play(
    whole: Master, shards: list[Master], parts: list[slice], rounds: int, generator: Any
) -> None:
    """Rounds of random pushes; in some of them a replica has none."""
    strategy = whole.strategy
    states: list[State] = [strategy.init_replica(whole.vector) for _ in range(3)]
    for rank, state in enumerate(states):
        strategy.seat(state, rank, 3)
    for _ in range(rounds):
        absent = int(torch.randint(6, (), generator=generator))
        for rank in torch.randperm(3, generator=generator).tolist():
            sent = whole.strategy.sends(whole.round, NUM_PARAMS, rank, 3)
            push = torch.randn(length(sent), dtype=torch.float64, generator=generator)
            pushed = None if rank == absent else push
            strategy.hear(states[rank], whole.numbers, whole.round)
            losses = torch.rand(strategy.steps(whole.round), generator=generator)
            weight = 1 + rank
            numbers = strategy.tell(states[rank], losses, weight, whole.round)
            whole.take(rank, whole.round, pushed, weight=weight, numbers=numbers)
            cut = np.split(push.numpy(), starts(parts, "none", sent)[1:])
            for shard, piece in zip(shards, cut, strict=True):
                mine = None if rank == absent else torch.from_numpy(piece)
                shard.take(rank, shard.round, mine, weight=weight, numbers=numbers)
        replies = whole.close()
        partial = [shard.close() for shard in shards]
        for rank, reply in replies.items():
            assert torch.equal(torch.cat([one[rank].vector for one in partial]), reply.vector)
        assert torch.equal(torch.cat([shard.vector for shard in shards]), whole.vector)
        assert torch.equal(torch.cat([shard.model for shard in shards]), whole.model)
        assert sum(shard.gap for shard in shards) == pytest.approx(whole.gap)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
@given(data=st.data(), seed=st.integers(0, 99))
def test_masters_of_stretches_are_one_master(strategy: Strategy, data: Any, seed: int) -> None:
    marks = [4, 5] if strategy.steps_master else range(1, NUM_PARAMS)
    cuts = sorted(data.draw(st.sets(st.sampled_from(marks))))
    parts = [slice(a, b) for a, b in pairwise([0, *cuts, NUM_PARAMS])]
    whole, shards = masters(strategy, parts, inner_optimizer_fn=sgd(momentum=0.9, nesterov=True))
    play(whole, shards, parts, 8, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("saved_by", [1, 2, 3])
@pytest.mark.parametrize(
    "strategy", [Parle(reference="mean_z"), DiLoCo(), SGD(), AutoSplash()], ids=repr
)
def test_a_state_is_the_same_from_any_number_of_shards_and_for_any(
    strategy: Strategy, saved_by: int
) -> None:
    def new(count: int) -> tuple[Master, list[Master], list[slice]]:
        parts = stretches(SIZES, count, whole_parameters=strategy.steps_master, codec="none")
        return (*masters(strategy, parts, inner_optimizer_fn=grouped_adam), parts)

    whole, shards, parts = new(saved_by)
    play(whole, shards, parts, 3, torch.Generator().manual_seed(0))
    joined = join_states([pack_tree(shard.state_dict()) for shard in shards])
    assert_equal(joined, pack_tree(whole.state_dict()))
    saved = copy.deepcopy(joined)
    for count in (1, 2, 3):
        again, shards, parts = new(count)
        again.load_state_dict(unpack_tree(saved))
        for shard, part in zip(shards, parts, strict=True):
            shard.load_state_dict(unpack_tree(cut_state(saved, part)))
        play(again, shards, parts, 2, torch.Generator().manual_seed(1))


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, Packed):
        np.testing.assert_array_equal(one.array, other.array)
    elif isinstance(one, dict):
        assert set(one) == set(other)
        for key in one:
            assert_equal(one[key], other[key])
    else:
        assert one == other


@given(
    sizes=st.lists(st.integers(0, 5 * CHUNK), min_size=1, max_size=12),
    shards=st.integers(1, 9),
    whole_parameters=st.booleans(),
    codec=st.sampled_from(["none", "int4"]),
)
def test_stretches_cover_the_vector_once_and_none_is_empty(
    sizes: list[int], shards: int, whole_parameters: bool, codec: str
) -> None:
    total = sum(sizes)
    edges = np.cumsum([0, *sizes]).tolist()
    try:
        parts = stretches(sizes, shards, whole_parameters=whole_parameters, codec=codec)
    except InputError:
        whole = len([size for size in sizes if size])
        most = whole if whole_parameters else total if codec == "none" else -(-total // CHUNK)
        assert shards > most
        return
    assert len(parts) == shards
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == total
    assert all(part.start < part.stop for part in parts) or total == 0
    if whole_parameters:
        assert all(part.start in edges for part in parts)
    elif codec != "none":
        assert all(part.start % CHUNK == 0 for part in parts)
    elif total > 100 * 1024 * shards:
        longest = max(part.stop - part.start for part in parts)
        assert longest <= total / shards + 1024


@pytest.mark.parametrize("codec", ["bf16", "int8", "int4"])
def test_a_code_is_cut_where_the_vector_is(codec: str) -> None:
    """A replica codes the whole, a shard reads its stretch and codes its part of the reply."""
    fitted = task(
        Parle(),
        model_fn=lambda: nn.Linear(1000, 200),
        num_replicas=1,
        num_rounds=9,
        compression=codec,
    ).fitted_to(3)
    whole = Master(fitted, range(1))
    num_params = len(whole.vector)
    parts = stretches([200_000, 200], 3, whole_parameters=False, codec=codec)
    shards = [Master(fitted, range(1), part) for part in parts]
    end = ReplicaEnd(codec, whole.vector, relative=True)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        code = end.code(whole.vector + torch.randn(num_params, generator=generator))
        assert is_finite(code, codec, num_params)
        whole.take(0, whole.round, code)
        reply = whole.close()[0].code
        assert reply is not None
        marks = starts(parts, codec, slice(0, num_params))
        for shard, part in zip(shards, np.split(code, marks[1:]), strict=True):
            shard.take(0, shard.round, part)
        codes = [shard.close()[0].code for shard in shards]
        np.testing.assert_array_equal(np.concatenate(codes), reply)
        assert torch.equal(torch.cat([shard.vector for shard in shards]), whole.vector)
        end.read(reply)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("codec", CODECS)
def test_what_no_shard_may_merge_is_seen_before_it_is_cut(codec: str, bad: float) -> None:
    vector: Tensor = torch.zeros(3000)
    vector[1234] = bad
    kind = CODECS[codec]()
    assert not is_finite(vector if codec == "none" else kind.encode(vector), codec, 3000)


class Here:
    """An object in the place of an actor: what it is told is done at once."""

    def __init__(self, verb: Any) -> None:
        self._verb = verb

    def __getattr__(self, name: str) -> "Here":
        return Here(getattr(self._verb, name))

    def options(self, **options: Any) -> "Here":
        return self

    def remote(self, *args: Any) -> Any:
        return self._verb(*args)


@pytest.mark.parametrize("cut", [[slice(0, 4), slice(4, 5)], [slice(0, 3), slice(3, 6)]])
def test_a_stretch_of_another_size_is_refused_by_all_shards(
    monkeypatch: pytest.MonkeyPatch, cut: list[slice]
) -> None:
    monkeypatch.setattr(ray, "get", lambda refs: refs)
    fitted = task(LocalSGD(), num_replicas=3, num_rounds=9).fitted_to(3)
    parts = [slice(0, 4), slice(4, 6)]
    actors = [ShardActor([fitted], i) for i in range(2)]
    master = Shards(fitted, [Here(actor) for actor in actors], (3, "none", parts), [], [0, 1, 2])
    start = torch.cat([torch.from_numpy(actor.model()) for actor in actors])
    for rank, sent in enumerate([parts, cut, parts]):
        push = (start + 9.0 * rank).numpy()
        master.bring(rank, 0, {"finite": True}, [push[place] for place in sent])
        master.take(rank, 0, 0, 1 + rank)
    parcels = master.close()
    assert [parcels[rank].restart for rank in range(3)] == [False, True, False]
    moved = torch.cat([torch.from_numpy(actor.model()) for actor in actors])
    torch.testing.assert_close(moved, start + (0.0 * 1 + 18.0 * 3) / 4)
    (line,) = master.roll.entry.refusals()
    assert "replica 1 was refused (shape" in line


@pytest.mark.parametrize("shards", [0, -1, True, 1.5, None])
def test_no_number_of_shards(shards: object) -> None:
    with pytest.raises(InputError, match="shards must be a whole number >= 1"):
        check_shards(shards, Parle(), "none")


def test_an_optimiser_at_the_master_and_a_code_cannot_both_be_cut() -> None:
    check_shards(1, SGD(), "int8")
    check_shards(2, Parle(), "int8")
    with pytest.raises(InputError, match=r"shards: 2 .* SGD, .* use shards=1 or compression"):
        check_shards(2, SGD(), "auto")


@pytest.mark.parametrize(
    ("whole_parameters", "codec", "message"),
    [
        (False, "none", "shards must be <= 6 for these 6 parameters.* got 7"),
        (True, "none", "shards must be <= 3 .* whole parameter tensors"),
        (False, "int8", "shards must be <= 1 .* 65,536 values"),
    ],
)
def test_more_shards_than_there_is_to_cut(whole_parameters: bool, codec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        stretches(SIZES, 7, whole_parameters=whole_parameters, codec=codec)

"""Rounds that move a stretch of the vector: what travels, who gets it, and what rests."""

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from parle_ray import ReplicaOptimizer
from parle_ray.cluster import whole
from parle_ray.cluster.whole import Whole
from parle_ray.cluster.wire import Parcel, pack
from parle_ray.compression import CODECS
from parle_ray.errors import InputError
from parle_ray.master import Master
from parle_ray.membership.ledger import Fate
from parle_ray.moving import inside
from parle_ray.replica import Reply
from parle_ray.strategies import DiLoCo, Parle, Rotation, Strategy, StreamingDiLoCo
from parle_ray.stretches import check_shards
from tests.fake_ray import FakeRay, Ref
from tests.problems import NUM_PARAMS, Pieces, batches, crew, play_round, run, squares, task

STREAMING = StreamingDiLoCo(sync_every=2, fragments=4)
ROTATION = Rotation(sync_every=2)
both = pytest.mark.parametrize("strategy", [STREAMING, ROTATION], ids=["streaming", "rotation"])


@given(st.lists(st.integers(0, 20), min_size=4, max_size=4))
def test_what_lies_in_a_frame_is_what_both_have(marks: list[int]) -> None:
    stretch, frame = slice(*sorted(marks[:2])), slice(*sorted(marks[2:]))
    numbers = range(21)
    both_have = [i for i in numbers[frame] if i in numbers[stretch]]
    assert list(numbers[frame][inside(stretch, frame)]) == both_have


@both
@pytest.mark.parametrize("codec", ["none", "int8"])
def test_a_stretch_of_the_reply_says_what_the_whole_of_it_says(
    strategy: Strategy, codec: str
) -> None:
    """`play_round` gives every replica the whole, uncoded."""
    settings: dict[str, Any] = {"num_replicas": 3, "num_rounds": 7, "compression": codec}
    ours = run(strategy, **settings)
    master, learners = crew(task(strategy, **settings).fitted_to(3))
    for _ in range(7):
        play_round(master, learners)
    assert torch.equal(master.vector, ours.master)
    for learner, replica in zip(learners, ours.replicas, strict=True):
        learner.settle(7, master.reply(learner.rank))
        assert torch.equal(learner.vector, replica)


def pushes_of(master: Master, round: int) -> list[Tensor]:
    """One of each replica, of the length that it may have."""
    generator = torch.Generator().manual_seed(round)
    n = len(master.ranks)
    sends = [master.strategy.sends(round, NUM_PARAMS, rank, n) for rank in range(n)]
    return [
        torch.randn(part.stop - part.start, generator=generator, dtype=torch.float64)
        for part in sends
    ]


def new(strategy: Strategy, **changes: Any) -> Master:
    return Master(task(strategy, num_replicas=3, num_rounds=9, **changes).fitted_to(3), range(3))


def test_a_round_moves_its_stretch_and_nothing_else() -> None:
    master = new(STREAMING)
    for round in range(9):
        before = {"x": master.vector.clone(), "m": master.state["momentum"].clone()}
        for rank, push in enumerate(pushes_of(master, round)):
            master.take(rank, round, push)
        master.close()
        for name, now in (("x", master.vector), ("m", master.state["momentum"])):
            moved = torch.zeros(NUM_PARAMS, dtype=torch.bool)
            moved[STREAMING.moves(round, NUM_PARAMS)] = True
            assert torch.equal(now != before[name], moved)


@pytest.mark.parametrize("tree", [None, 2])
def test_what_a_block_has_no_part_in_is_not_averaged(tree: int | None) -> None:
    master = new(ROTATION, tree=tree)
    expected = master.vector.clone()
    for round in range(4):
        pushes = pushes_of(master, round)
        for rank, push in reversed(list(enumerate(pushes))):
            master.take(rank, round, push)
            expected[ROTATION.sends(round, NUM_PARAMS, rank, 3)] += push
        master.close()
        torch.testing.assert_close(master.vector, expected, rtol=0.0, atol=1e-14)


def test_who_had_the_reply_before_is_sent_a_stretch_and_the_others_the_whole() -> None:
    master = new(STREAMING)
    late = {"seen": -1}  # it had not heard of the master that opened the round
    for rank, push in enumerate(pushes_of(master, 0)):
        master.take(rank, 0, push, **(late if rank == 1 else {}))
    replies = master.close()
    assert [len(replies[rank].vector) for rank in range(3)] == [1, NUM_PARAMS, 1]
    assert [replies[rank].part for rank in range(3)] == [slice(0, 1), None, slice(0, 1)]
    assert torch.equal(replies[0].vector, master.vector[:1])
    assert torch.equal(replies[1].vector, master.vector)


@pytest.mark.parametrize("codec", ["none", "int8"])
def test_a_replica_that_starts_again_is_told_all_and_then_a_stretch(codec: str) -> None:
    master, learners = crew(task(STREAMING, num_rounds=9, compression=codec).fitted_to(3))
    replies, told = {rank: master.reply(rank) for rank in master.ranks}, []
    for round in range(4):
        for rank, learner in enumerate(learners):
            push = learner.play(round, partial(replies.__getitem__, rank)).push
            spoilt = push is not None and (round, rank) == (0, 1)
            master.take(rank, round, push[:0] if spoilt else push)  # type: ignore[index]
        replies = master.close()
        told.append((replies[1].restart, replies[1].part))
    parts = [STREAMING.moves(round, NUM_PARAMS) for round in range(4)]
    assert told == [(True, None), *((False, part) for part in parts[1:])]
    assert master.faults == 1


@pytest.mark.parametrize(("fragments", "fate"), [(2, Fate.DROPPED), (1, Fate.LATE)])
def test_a_push_that_comes_when_another_stretch_moves_is_dropped(
    fragments: int, fate: Fate
) -> None:
    master = new(StreamingDiLoCo(fragments=fragments))
    first, second = pushes_of(master, 0), pushes_of(master, 1)
    for rank in (0, 2):
        master.take(rank, 0, first[rank])
    master.close()
    for rank in (0, 2):
        master.take(rank, 1, second[rank])
    master.take(1, 0, first[1], seen=0)
    master.close()
    assert master.entry.fates[1, 0] is fate


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "ray", FakeRay)


def sent(strategy: Strategy, codec: str = "none") -> list[tuple[int, ...]]:
    """Bytes of the pushes and of each reply, in four rounds, as the cluster counts them."""
    fitted = task(strategy, num_replicas=3, num_rounds=9, compression=codec).fitted_to(3)
    master, learners = Whole(fitted, [], [0, 1, 2]), crew(fitted)[1]
    parcels, told = master.replies(), []
    for round in range(4):
        up = 0
        for rank, learner in enumerate(learners):
            ref = Ref()
            ref.set(pack(learner.play(round, partial(read, parcels[rank])).push))  # type: ignore[arg-type]
            master.bring(rank, round, {}, [ref])
            up += master.take(rank, round, round, 1) or 0
        parcels = master.close()
        told.append((up, *(parcels[rank].num_bytes for rank in range(3))))
    return told


def read(parcel: Parcel) -> Reply:
    """As a replica reads it."""
    array = FakeRay.get(parcel.refs[0])
    code = array if parcel.coded else None
    vector = torch.empty(0) if parcel.coded else torch.from_numpy(array)
    return Reply(vector, parcel.restart, code, parcel.part)


def test_a_round_of_as_many_fragments_sends_so_much_less_than_diloco(one_process: None) -> None:
    vector = 8 * NUM_PARAMS
    assert sent(DiLoCo(sync_every=2)) == [(3 * vector, vector, vector, vector)] * 4
    streaming = StreamingDiLoCo(sync_every=2, fragments=3)
    part = vector // 3
    assert sent(streaming) == [(3 * part, part, part, part)] * 4


def test_the_pushes_of_a_rotation_are_one_vector_together(one_process: None) -> None:
    vector = 8 * NUM_PARAMS
    assert sent(ROTATION) == [(vector, vector, vector, vector)] * 4


@pytest.mark.parametrize("codec", ["bf16", "int8", "int4"])
def test_a_code_is_that_of_the_stretch(one_process: None, codec: str) -> None:
    two, all_six = (CODECS[codec]().encoded_bytes(n) for n in (2, NUM_PARAMS))
    streaming = StreamingDiLoCo(sync_every=2, fragments=3)
    assert sent(streaming, codec) == [(3 * two, two, two, two)] * 4
    assert sent(ROTATION, codec) == [(3 * two, all_six, all_six, all_six)] * 4


@pytest.mark.parametrize(
    ("strategy", "compression", "message"),
    [
        (STREAMING, "none", r"shards: 2 with StreamingDiLoCo, .*use shards=1"),
        (ROTATION, "int8", r"shards: 2 with compression='int8' .* Rotation, .*or compression='no"),
    ],
)
def test_what_cannot_be_moved_by_shards_is_refused(
    strategy: Strategy, compression: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_shards(2, strategy, compression)


def test_what_shards_can_move_is_not() -> None:
    check_shards(2, ROTATION, "none")
    check_shards(2, StreamingDiLoCo(fragments=1), "int8")
    check_shards(1, STREAMING, "int8")
    check_shards(2, Parle(), "int8")


@both
def test_in_a_loop_of_ones_own_it_is_the_simulated_run(strategy: Strategy) -> None:
    module = Pieces()
    inner = torch.optim.SGD(module.parameters(), lr=0.1)
    optimizer = ReplicaOptimizer(module, inner, strategy, num_rounds=6)
    for step in range(12):
        optimizer.zero_grad()
        squares(module, batches(0, 1)[step % 3]).backward()
        optimizer.step()
    theirs = run(strategy, num_replicas=1, num_rounds=6)
    optimizer.swap_master()
    ours = torch.cat([p.detach().reshape(-1) for p in module.parameters()])
    assert torch.equal(ours, theirs.master)

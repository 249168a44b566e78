"""The planner: laws of the simulated protocol, and a timeline by hand."""

import contextlib
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parle_ray.errors import InputError
from parle_ray.planning import (
    CODECS,
    Codec,
    Scenario,
    bytes_per_s,
    predict,
    recommend,
    ring,
)
from parle_ray.planning.clock import Clock, Cores
from parle_ray.planning.protocol import Run
from parle_ray.strategies import (
    SGD,
    STRATEGIES,
    LocalSGD,
    Parle,
    Rotation,
    Strategy,
    StreamingDiLoCo,
)

FREE = {"latency_s": 0.0, "call_s": 0.0, "fold_bytes_per_s": math.inf, "cores_per_node": 100.0}
"""Nothing but steps, memory and links costs time."""


def scenario(**changes: Any) -> Scenario:
    """Eight replicas on four nodes, so that everything costs something."""
    given = {
        "num_replicas": 8,
        "nodes": 4,
        "num_params": 1_000_000,
        "step_s": 0.01,
        "num_rounds": 8,
    }
    return Scenario(**given | changes)


IN_STEP = [kind() for kind in STRATEGIES.values() if kind.synchronous]

# Two replicas on two nodes: a round of steps takes 2 s, storing a vector 0.5, its way over the link
# 1 and 0.25 of latency, a fold 0.1 and a remote call 0.05. The coordinator lives on node 0.
BY_HAND = Scenario(
    num_replicas=2,
    nodes=2,
    num_params=100,
    step_s=1.0,
    cores_per_node=4.0,
    link_bytes_per_s=400.0,
    latency_s=0.25,
    memory_bytes_per_s=800.0,
    fold_bytes_per_s=4000.0,
    call_s=0.05,
    num_rounds=3,
)


def test_the_timeline_of_an_overlapping_strategy_is_that_by_hand() -> None:
    run = Run(replace(BY_HAND, strategy=Parle(sync_every=2)))
    run.play()
    first, second = run.replicas
    # Both push until 2.5. Rank 1's comes at 2.5 + 0.25 + 1 = 3.75, is folded (0.05 + 0.1) at 3.9,
    # put at 4.4. Rank 0 is called (2 x 0.05) at 4.5 and has its reply at 4.55; rank 1 is called at
    # 4.6 and has it at 4.6 + 0.25 + 1 + 0.05 = 5.9. Their steps ended at 4.5.
    assert first.ends == pytest.approx([2.5, 4.55 + 0.5, 8.45 + 0.5])
    assert second.ends == pytest.approx([2.5, 5.9 + 0.5, 9.8 + 0.5])
    assert first.stalls == pytest.approx([0.5, 0.05 + 0.5, 8.45 - 7.05 + 0.5])
    assert second.stalls == pytest.approx([0.5, 1.4 + 0.5, 9.8 - 8.4 + 0.5])
    assert first.exchanges[:2] == pytest.approx([4.55 - 2.0, 8.45 - 4.55])
    assert second.exchanges[:2] == pytest.approx([5.9 - 2.0, 9.8 - 5.9])


def test_the_timeline_of_a_blocking_strategy_is_that_by_hand() -> None:
    run = Run(replace(BY_HAND, strategy=LocalSGD(sync_every=2), num_rounds=2))
    run.play()
    first, second = run.replicas
    assert first.ends == pytest.approx([2.5, 4.55 + 2.0 + 0.5])
    assert second.ends == pytest.approx([2.5, 5.9 + 2.0 + 0.5])


def test_jobs_share_cores_equally() -> None:
    clock, ended = Clock(), {}
    cores = Cores(clock, 2.0)
    for name, seconds in (("a", 1.0), ("b", 1.0), ("c", 3.0)):
        cores.work(seconds, lambda name=name: ended.setdefault(name, clock.now))
    clock.at(2.0, lambda: cores.work(1.0, lambda: ended.setdefault("d", clock.now)))
    clock.run()
    # Three on two cores go at 2/3: a and b end at 1.5, c has 2 left and goes on alone, then with d.
    assert ended == pytest.approx({"a": 1.5, "b": 1.5, "d": 3.0, "c": 3.5})


@pytest.mark.parametrize("strategy", [Parle(), LocalSGD(sync_every=25)], ids=repr)
def test_with_an_infinite_link_a_round_is_its_steps_and_the_push(strategy: Any) -> None:
    s = scenario(strategy=strategy, link_bytes_per_s=math.inf, memory_bytes_per_s=1e9, **FREE)
    prediction = predict(s)
    waits_for_put = 0.0 if strategy.overlaps else s.push_s
    assert s.push_s == pytest.approx(0.004)
    assert prediction.round_s == pytest.approx(25 * 0.01 + s.push_s + waits_for_put)
    assert prediction.stall_s == pytest.approx(s.push_s + waits_for_put)


def test_no_shards_are_recommended_to_a_strategy_that_moves_stretches() -> None:
    slow = scenario(link_bytes_per_s=1e6, strategy=StreamingDiLoCo())
    assert recommend(slow, sync_every=[1]).scenario.shards == 1
    with pytest.raises(InputError, match=r"shards: 2 with StreamingDiLoCo, .*leave out shards"):
        scenario(shards=2, strategy=StreamingDiLoCo())


@pytest.mark.parametrize("strategy", [Parle(), LocalSGD(sync_every=25)], ids=repr)
def test_a_replica_decodes_and_encodes_once_a_round(strategy: Any) -> None:
    fast = {"link_bytes_per_s": math.inf, "memory_bytes_per_s": math.inf, **FREE}
    codec = Codec(bytes_per_param=2.0, encode_s_per_param=3e-9, decode_s_per_param=2e-9)
    p = predict(scenario(num_replicas=1, nodes=1, strategy=strategy, codec=codec, **fast))
    # A blocking replica waits until the master has decoded its push and encoded the reply.
    assert p.stall_s == pytest.approx(0.0 if strategy.overlaps else 0.005)
    assert p.round_s == pytest.approx(25 * 0.01 + 0.005 + p.stall_s)


@pytest.mark.parametrize(("replicas", "cores", "stretch"), [(2, 2, 1.0), (3, 2, 1.5), (4, 1, 4.0)])
def test_replicas_that_share_cores_stretch_each_others_steps(
    replicas: int, cores: float, stretch: float
) -> None:
    s = scenario(num_replicas=replicas, nodes=1, **FREE | {"cores_per_node": cores})
    quick = replace(s, memory_bytes_per_s=math.inf)
    assert predict(quick).round_s == pytest.approx(25 * 0.01 * stretch)
    assert predict(s).round_s > predict(quick).round_s


clusters = st.builds(
    scenario,
    num_replicas=st.integers(4, 9),
    nodes=st.integers(1, 4),
    step_s=st.sampled_from([0.001, 0.01, 0.1]),
    link_bytes_per_s=st.sampled_from([1e7, 1e8, 1e9]),
    cores_per_node=st.sampled_from([2.0, 20.0]),
    tree=st.booleans(),
    spread=st.sampled_from([0.0, 0.1]),
)


@given(clusters)
def test_a_blocking_strategy_is_never_faster_than_one_that_overlaps(s: Scenario) -> None:
    blocking = replace(s, strategy=Parle(reference="mean_z"))
    assert predict(blocking).round_s >= predict(s).round_s * (1 - 1e-9)


@given(clusters)
def test_twice_the_bandwidth_never_slows(s: Scenario) -> None:
    wider = replace(s, link_bytes_per_s=2 * s.link_bytes_per_s)
    assert predict(wider).round_s <= predict(s).round_s * (1 + 1e-9)


@given(clusters)
def test_the_parts_of_a_round_fit_together(s: Scenario) -> None:
    p = predict(s)
    assert 0.0 < s.push_s * (1 - 1e-9) <= p.stall_s < p.round_s
    assert p.exchange_s > s.push_s
    if not s.spread:
        assert p.round_s >= p.steps_s * (1 - 1e-9)
    assert p.samples_per_s == pytest.approx(s.num_replicas * 25 / p.round_s)


@given(clusters)
def test_the_same_scenario_gives_the_same_figures(s: Scenario) -> None:
    assert predict(s) == predict(s)


def test_another_seed_gives_other_stragglers_and_they_cost_time() -> None:
    s = scenario(spread=0.2)
    assert predict(s) != predict(replace(s, seed=1))
    assert predict(s).round_s > predict(replace(s, spread=0.0)).round_s


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("strategy", IN_STEP, ids=repr)
def test_bytes_are_what_a_strategy_says_goes_up_and_down(name: str, strategy: Any) -> None:
    s = scenario(strategy=strategy, codec=CODECS[name])
    up, down = {Rotation: (1 / 8, 1), StreamingDiLoCo: (1 / 4, 1 / 4)}.get(type(strategy), (1, 1))
    b = (6 * up + 3 * down) * 1_000_000 * CODECS[name].bytes_per_param
    p = predict(s)
    # Two replicas a node. Six push to another node, and three nodes pull the reply; each byte
    # leaves one node and comes to another.
    assert p.busiest_bytes_per_step == pytest.approx(b / strategy.sync_every)
    assert p.bytes_per_step == pytest.approx(2 * b / 4 / strategy.sync_every)


def test_on_one_node_nothing_crosses_a_link() -> None:
    assert predict(scenario(nodes=1)).busiest_bytes_per_step == 0.0


def test_shards_divide_what_crosses_the_link_of_the_coordinator() -> None:
    n = 8
    slow = scenario(num_replicas=n, nodes=n, step_s=1e-6, link_bytes_per_s=1e8, **FREE)
    alone = predict(slow)
    assert alone.busiest_bytes_per_step * 25 == pytest.approx(2 * (n - 1) * 4e6)
    for shards in (2, 4, 8):
        p = predict(replace(slow, shards=shards))
        own = 2 * (shards - 1) / shards * 4e6  # of its replica, to and from the other shards
        assert p.busiest_bytes_per_step * 25 == pytest.approx(2 * (n - 1) * 4e6 / shards + own)
        assert alone.round_s / shards < p.round_s < 2 * alone.round_s / shards


@pytest.mark.parametrize("replicas_per_node", [2, 3, 8])
@pytest.mark.parametrize(
    ("strategy", "part"), [(Parle(), 1), (Rotation(), 1), (StreamingDiLoCo(), 1 / 4)], ids=repr
)
def test_a_tree_sends_one_vector_a_node_whatever_lives_there(
    replicas_per_node: int, strategy: Strategy, part: float
) -> None:
    p = predict(scenario(num_replicas=4 * replicas_per_node, strategy=strategy, tree=True))
    assert p.busiest_bytes_per_step * 25 == pytest.approx((3 + 3) * 4e6 * part)


def test_a_ring_is_its_formula() -> None:
    s = scenario(num_replicas=4, nodes=4, batch_size=10, cores_per_node=1.0)
    exchange_s = 2 * 3 / 4 * 4e6 / 1.25e9 + 2 * 3 * 1e-4
    assert ring(s).step_s == pytest.approx(0.01 + exchange_s)
    assert ring(s).overlapped_step_s == pytest.approx(0.01)  # it fits behind the backward pass
    assert ring(s).samples_per_s == pytest.approx(40 / (0.01 + exchange_s))
    slow = replace(s, link_bytes_per_s=1e7)
    exchange_s = 2 * 3 / 4 * 4e6 / 1e7 + 2 * 3 * 1e-4
    assert ring(slow).overlapped_step_s == pytest.approx(0.01 / 3 + exchange_s)
    assert ring(replace(s, num_replicas=1, nodes=1)).step_s == 0.01


def test_a_thousand_replicas_take_part() -> None:
    run = Run(scenario(num_replicas=1000, nodes=100, tree=True, num_rounds=2))
    run.play()
    assert [len(replica.ends) for replica in run.replicas] == [2] * 1000


def test_where_the_link_is_wide_the_shortest_rounds_need_nothing() -> None:
    wide = scenario(link_bytes_per_s=math.inf, memory_bytes_per_s=math.inf, **FREE)
    advice = recommend(wide)
    assert advice.enough
    assert advice.scenario == replace(wide, strategy=Parle(sync_every=1), num_rounds=6)
    assert advice.compression == "none"


def test_on_a_narrow_link_what_is_recommended_hides_the_exchange() -> None:
    narrow = scenario(
        num_replicas=16, nodes=8, step_s=0.05, link_bytes_per_s=1.25e7, cores_per_node=4.0
    )
    advice = recommend(narrow, sync_every=[25])
    assert predict(narrow).stall_share > 0.5
    assert advice.enough
    assert advice.prediction.stall_share < 0.01
    assert predict(replace(advice.scenario, num_rounds=20)).lost_share < 0.012


def test_where_nothing_is_enough_the_best_is_named() -> None:
    advice = recommend(scenario(strategy=SGD(), link_bytes_per_s=1e5), sync_every=[1, 5])
    assert not advice.enough
    assert advice.scenario.strategy.sync_every == 5


@given(st.floats(0.001, 1e4), st.sampled_from(["k", "M", "G", "T", "m", "g"]))
def test_a_link_is_read_as_bits_or_bytes(value: float, prefix: str) -> None:
    factor = {"k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}[prefix.lower()]
    for unit in ("bit/s", "bps", "b/s"):
        assert bytes_per_s(f"{value} {prefix}{unit}") == pytest.approx(value * factor / 8)
    assert bytes_per_s(f"{value}{prefix}B/s") == pytest.approx(value * factor)


@pytest.mark.parametrize("text", ["", "fast", "10", "10Gbit", "0Gbit/s", "-1Mbit/s", "1.2.3Mbit/s"])
def test_a_link_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(
        InputError, match=r"link must be a speed > 0, got .*; write it as 100Mbit/s"
    ):
        bytes_per_s(text)


@given(st.text(max_size=12))
def test_any_text_is_a_speed_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert 0.0 < bytes_per_s(text) < math.inf


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_replicas": 0}, "num_replicas must be >= 1, got 0"),
        ({"num_params": 1.5}, "num_params must be a whole number, got 1.5"),
        ({"nodes": 9}, "nodes must be <= num_replicas = 8, got 9"),
        ({"shards": 5}, "shards must be <= nodes = 4, got 5"),
        ({"shards": 2, "tree": True}, "tree: True does not go with .* shards = 2"),
        ({"codec": CODECS["int8"], "tree": True}, "tree: True does not go with a codec"),
        ({"num_rounds": 1}, "num_rounds must be >= 2, got 1"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"step_s": 0.0}, r"step_s must be a number > 0 and finite, got 0.0; give the seconds"),
        ({"step_s": math.inf}, "step_s must be a number > 0 and finite, got inf"),
        ({"latency_s": -1.0}, "latency_s must be a number >= 0 and finite, got -1.0"),
        ({"call_s": math.nan}, "call_s must be a number >= 0 and finite, got nan"),
        ({"link_bytes_per_s": 0.0}, "link_bytes_per_s must be a number > 0, got 0.0"),
        ({"memory_bytes_per_s": True}, "memory_bytes_per_s must be a number > 0, got True"),
        ({"cores_per_node": 0}, "cores_per_node must be a number > 0 and finite, got 0"),
        ({"spread": "much"}, "spread must be a number >= 0 and finite, got 'much'"),
        ({"strategy": "parle"}, r"strategy must be a Strategy, got 'parle'; write Parle\(\)"),
        ({"codec": "int8"}, "codec must be a Codec, got 'int8'; take one of CODECS"),
    ],
)
def test_a_scenario_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        scenario(**changes)


def test_a_codec_that_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="bytes_per_param must be a number > 0"):
        Codec(bytes_per_param=0, encode_s_per_param=0.0, decode_s_per_param=0.0)

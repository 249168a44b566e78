"""`recommend`: the shortest rounds that do not wait, searched in the simulator."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product

from parle_ray.errors import InputError
from parle_ray.planning.coordinator import CALLS_A_ROUND
from parle_ray.planning.predict import Prediction, predict
from parle_ray.planning.scenario import CODECS, Codec, Scenario
from parle_ray.strategies import Strategy
from parle_ray.stretches import check_shards

SYNC_EVERY = (1, 5, 10, 25, 50, 100, 250, 500, 1000)
SHARDS = (1, 2, 4, 8)
ENOUGH = 0.01
"""The part of the time that may be lost to the exchange."""
HOPELESS = 1.1
"""The estimated load from which on a setting is not played."""
NUM_ROUNDS = 6
"""Enough for a steady state where all steps take the same time."""


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """A setting, and what it is predicted to do.

    Attributes:
        scenario: the one asked about, with this setting.
        compression: the name of its codec.
    """

    scenario: Scenario
    compression: str
    prediction: Prediction

    @property
    def enough(self) -> bool:
        """Whether less than `ENOUGH` of the time is lost; if not, of all tried this lost least."""
        return self.prediction.lost_share < ENOUGH


def recommend(
    scenario: Scenario,
    *,
    sync_every: Iterable[int] = SYNC_EVERY,
    codecs: Mapping[str, Codec] = CODECS,
    shards: Iterable[int] = SHARDS,
    trees: Collection[bool] = (False, True),
) -> Recommendation:
    """The smallest L that hides the exchange and, at that L, the simplest setting that does.

    Simple is, in this order: an exact codec, no tree, few shards. All combinations of what is
    given are looked at; those whose load by a rough estimate is too high are not played.
    """
    shorter = scenario if scenario.spread else replace(scenario, num_rounds=NUM_ROUNDS)
    too_high = HOPELESS
    played: list[Recommendation] = []
    left: list[tuple[float, str, Scenario]] = []
    for every, compression, tree, num_shards in product(sorted(sync_every), codecs, trees, shards):
        pointless = tree and scenario.nodes in (1, scenario.num_replicas)
        impossible = tree and (num_shards > 1 or compression != "none")
        impossible |= not _divides(num_shards, scenario.strategy, compression)
        if impossible or num_shards > scenario.nodes or (pointless and False in trees):
            continue
        tried = replace(
            shorter,
            strategy=replace(scenario.strategy, sync_every=every),
            codec=codecs[compression],
            tree=tree,
            shards=num_shards,
        )
        load = _load(tried)
        if load >= too_high:
            left.append((load, compression, tried))
            continue
        played.append(_play(compression, tried))
        if played[-1].enough:
            return played[-1]
        too_high = load  # what loads the coordinator as much would not do better
    if left:
        _, compression, tried = min(left, key=lambda entry: entry[0])
        played.append(_play(compression, tried))
    return min(played, key=lambda each: each.prediction.lost_share)


def _divides(shards: int, strategy: Strategy, compression: str) -> bool:
    """Whether a run may have these."""
    try:
        check_shards(shards, strategy, compression)
    except InputError:
        return False
    return True


def _play(compression: str, scenario: Scenario) -> Recommendation:
    return Recommendation(scenario=scenario, compression=compression, prediction=predict(scenario))


def _load(s: Scenario) -> float:
    """A rough estimate of what there is to do for a round, as a part of what may be done."""
    crowd = s.crowd
    senders = s.nodes if s.tree else s.num_replicas
    up, down = s.reply_params if s.tree else s.push_params, s.reply_params
    params = max((s.nodes - 1) * down, (senders - (1 if s.tree else crowd)) * up) / s.shards
    link_s = params * s.codec.bytes_per_param / s.link_bytes_per_s
    fold_s = (4 * down / s.fold_bytes_per_s + up * s.codec.decode_s_per_param) / s.shards
    core_s = s.num_replicas * s.call_s * (1 + CALLS_A_ROUND) + senders * fold_s
    slowed = max(1.0, (crowd + 1) / s.cores_per_node)
    exchange = max(link_s / slowed, core_s) / s.walk_s
    lost = (s.push_s + s.encode_s + s.decode_s) / s.walk_s
    if not s.strategy.overlaps:
        lost += exchange
    elif crowd + 1 > s.cores_per_node:  # the fold takes its core from the steps
        lost += core_s / s.walk_s / crowd
    return max(exchange, lost / ENOUGH)

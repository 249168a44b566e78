"""What a round would cost on another cluster: the protocol played on a virtual clock. No I/O."""

from parle_ray.planning.predict import Prediction, predict
from parle_ray.planning.recommend import Recommendation, recommend
from parle_ray.planning.ring import Ring, ring
from parle_ray.planning.scenario import CODECS, Codec, Scenario
from parle_ray.planning.units import bytes_per_s

__all__ = [
    "CODECS",
    "Codec",
    "Prediction",
    "Recommendation",
    "Ring",
    "Scenario",
    "bytes_per_s",
    "predict",
    "recommend",
    "ring",
]

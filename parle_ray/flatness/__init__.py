"""How flat the loss is where a run ended, and how its replicas lie: what the paper argues with.

The measures know a loss as a function of a vector (`Landscape`), and nothing of runs.
"""

from parle_ray.flatness.curvature import top_eigenvalue, trace
from parle_ray.flatness.directions import filter_normalised, rise
from parle_ray.flatness.ensemble import Ensemble
from parle_ray.flatness.estimate import Estimate
from parle_ray.flatness.landscape import Landscape
from parle_ray.flatness.measure import Measures, evaluate_replicas, measure
from parle_ray.flatness.overlap import distances, overlaps
from parle_ray.flatness.smoothing import smoothed

__all__ = [
    "Ensemble",
    "Estimate",
    "Landscape",
    "Measures",
    "distances",
    "evaluate_replicas",
    "filter_normalised",
    "measure",
    "overlaps",
    "rise",
    "smoothed",
    "top_eigenvalue",
    "trace",
]

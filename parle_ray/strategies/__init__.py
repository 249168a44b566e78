"""The algorithms, one a file, and the table by which the command line finds them."""

from parle_ray.strategies.asynchronous import Asynchronous
from parle_ray.strategies.asynchronous_easgd import AsynchronousEASGD
from parle_ray.strategies.auto_splash import AutoSplash
from parle_ray.strategies.base import State, Strategy
from parle_ray.strategies.bounded_advance import BoundedAdvance
from parle_ray.strategies.diloco import DiLoCo
from parle_ray.strategies.elastic_sgd import ElasticSGD
from parle_ray.strategies.entropy_sgd import EntropySGD
from parle_ray.strategies.hierarchical_parle import HierarchicalParle
from parle_ray.strategies.local_sgd import LocalSGD
from parle_ray.strategies.papa import PAPA
from parle_ray.strategies.parameter_mixing import ParameterMixing
from parle_ray.strategies.parle import Parle
from parle_ray.strategies.rotation import Rotation
from parle_ray.strategies.sgd import SGD
from parle_ray.strategies.slowmo import SlowMo
from parle_ray.strategies.splash import Splash
from parle_ray.strategies.streaming_diloco import StreamingDiLoCo
from parle_ray.strategies.tail_averaging import TailAveraging
from parle_ray.strategies.weed_out import WeedOut

STRATEGIES: dict[str, type[Strategy]] = {
    "asynchronous": Asynchronous,
    "asynchronous_easgd": AsynchronousEASGD,
    "auto_splash": AutoSplash,
    "bounded_advance": BoundedAdvance,
    "diloco": DiLoCo,
    "elastic_sgd": ElasticSGD,
    "entropy_sgd": EntropySGD,
    "hierarchical_parle": HierarchicalParle,
    "local_sgd": LocalSGD,
    "papa": PAPA,
    "parameter_mixing": ParameterMixing,
    "parle": Parle,
    "rotation": Rotation,
    "sgd": SGD,
    "slowmo": SlowMo,
    "splash": Splash,
    "streaming_diloco": StreamingDiLoCo,
    "tail_averaging": TailAveraging,
    "weed_out": WeedOut,
}

__all__ = [
    "PAPA",
    "SGD",
    "STRATEGIES",
    "Asynchronous",
    "AsynchronousEASGD",
    "AutoSplash",
    "BoundedAdvance",
    "DiLoCo",
    "ElasticSGD",
    "EntropySGD",
    "HierarchicalParle",
    "LocalSGD",
    "ParameterMixing",
    "Parle",
    "Rotation",
    "SlowMo",
    "Splash",
    "State",
    "Strategy",
    "StreamingDiLoCo",
    "TailAveraging",
    "WeedOut",
]

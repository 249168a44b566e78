"""Vectors in fewer bytes: codecs, links that feed their errors back, and the choice of one."""

from parle_ray.compression.choice import CODECS, NAMES, check_compression, choose, measure
from parle_ray.compression.codecs import ChunkedCodec, Codec
from parle_ray.compression.ends import MasterEnd, ReplicaEnd
from parle_ray.compression.links import Pusher, Receiver, Sender, read_push

__all__ = [
    "CODECS",
    "NAMES",
    "ChunkedCodec",
    "Codec",
    "MasterEnd",
    "Pusher",
    "Receiver",
    "ReplicaEnd",
    "Sender",
    "check_compression",
    "choose",
    "measure",
    "read_push",
]

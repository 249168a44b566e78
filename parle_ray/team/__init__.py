"""A replica of several processes: who computes what, and how they add it up. No Ray.

base                        each computes a part of every mini-batch
sharded                     and takes the steps of a share of the vector
fully_sharded               of which it has no more than the share (FSDP)
pipeline, stages, line,     or each has some of the layers
  stand_ins
sums, group, among          how they add up, and what carries it
"""

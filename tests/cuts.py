"""Runs stopped at a round, without Ray: the packed states that a checkpoint holds."""

from functools import partial
from typing import Any

import torch

from parle_ray.cluster.states import Resume
from parle_ray.cluster.wire import pack_tree, unpack_tree
from parle_ray.learner import Learner
from parle_ray.master import Master
from parle_ray.replica import Reply
from parle_ray.task import Task


class Crew:
    """A master and its replicas in this process, walking as they do on a cluster.

    Args:
        task: fitted to the run.
        resume: states to go on from.
    """

    def __init__(self, task: Task, resume: Resume | None = None) -> None:
        self.master = Master(task, range(task.num_replicas))
        if resume is not None:
            self.master.load_state_dict(unpack_tree(resume.master))
        self.learners = [Learner(task, rank) for rank in range(task.num_replicas)]
        for learner in self.learners:
            learner.start(task, self.master.round, self.master.start)
            if resume is not None and learner.rank in resume.replicas:
                learner.load_state_dict(unpack_tree(resume.replicas[learner.rank]))
        self._replies: dict[int, Reply] = {
            rank: self.master.reply(rank) for rank in self.master.ranks
        }

    def play(self, num_rounds: int) -> None:
        """So many rounds of everybody."""
        for _ in range(num_rounds):
            round = self.master.round
            for learner in self.learners:
                answer = learner.play(round, partial(self._replies.__getitem__, learner.rank))
                weight, numbers = answer.weight, answer.numbers
                self.master.take(learner.rank, round, answer.push, weight=weight, numbers=numbers)
            self._replies = self.master.close()

    def cut(self) -> dict[str, Any]:
        """What `checkpoint.save` takes of a run, beside its round and spec."""
        task = self.learners[0].task
        flat = task.build()
        flat.vector.copy_(self.master.model)
        return {
            "master": pack_tree(self.master.state_dict()),
            "replicas": {w.rank: pack_tree(w.state_dict()) for w in self.learners},
            "model": pack_tree(dict(flat.module.state_dict())),
        }

    def bits(self) -> torch.Tensor:
        """The master's vector, its model and the replicas' vectors, `((2 + n) * num_params,)`."""
        mine = self.master.vector, self.master.model
        return torch.cat([*mine, *(w.vector for w in self.learners)])

"""What benchmarks are made of: problems, stamps, hosts. No clock decides anything here."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from jobs.benchmarks import namespaces, problems, stamps, update
from parle_ray import simulate
from parle_ray.errors import InputError
from parle_ray.strategies import Parle


def test_a_network_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(InputError, match="root; run it with sudo"), namespaces.hosts():
        pass


def test_a_network_names_the_package_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "tc" else name)
    with pytest.raises(InputError, match="tc not found; apt-get install"), namespaces.hosts():
        pass


@pytest.mark.parametrize("num_params", [270_000, 11_000_000, 36_500_000])
def test_a_vector_is_cut_as_in_a_resnet(num_params: int) -> None:
    sizes = update.shapes(num_params)
    assert (len(sizes), sum(sizes)) == (update.NUM_TENSORS, num_params)
    assert min(sizes) > 0


def test_the_problems_have_the_sizes_they_claim() -> None:
    def size(problem: problems.Problem) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in problem.model().parameters())

    assert size(problems.LENET) == 132_220
    assert size(problems.PERCEPTRON) == 670_195
    assert size(problems.WIDE) == pytest.approx(36.5e6, rel=0.001)
    assert size(problems.Vector(num_params=11_000_000)) == 11_000_000


@pytest.mark.parametrize("problem", [problems.LENET, problems.Vector(num_params=50)])
def test_replicas_draw_different_images_of_the_same_problem(problem: problems.Problem) -> None:
    module = problem.model()
    (mine, theirs) = (problem.batches(rank)[0] for rank in (0, 1))
    loss = problem.loss(module, mine)
    assert loss.dim() == 0
    assert loss.isfinite()
    if isinstance(problem, problems.Images):
        assert not torch.equal(mine[0], theirs[0])


def test_stamps_are_those_of_the_process_that_wrote_first(tmp_path: Path) -> None:
    path = tmp_path / "replica_0"
    path.write_text("7 1.0 1.0 0.5\n7 2.0 2.0 0.7\n8 2.5 2.5 9.0\n7 4.0 4.0 1.1\n7 5")
    seen = stamps.read(path, 3)
    assert list(seen["cpu_s"]) == [0.5, 0.7, 1.1]
    assert stamps.rate(seen, "wall_s", 1) == 2.0


def test_batches_leave_a_stamp_before_each_round(tmp_path: Path) -> None:
    batches = stamps.StampedBatches(problems.Vector(num_params=4), 3, tmp_path)(1, 2)
    drawn = iter(batches)
    for _ in range(7):
        next(drawn)
    assert len(stamps.read(tmp_path / "replica_1", 9)) == 3


def test_a_watched_run_has_the_bits_of_one_that_is_not(tmp_path: Path) -> None:
    problem = problems.Vector(num_params=4)

    def run_with(strategy: Parle) -> torch.Tensor:
        return simulate(
            problem.model,
            problem.loss,
            lambda rank, n: problem.batches(rank),
            strategy=strategy,
            inner_optimizer_fn=problems.sgd,
            num_replicas=2,
            num_rounds=3,
        ).master

    watched = run_with(stamps.StampedParle(sync_every=2, folder=str(tmp_path)))
    assert torch.equal(watched, run_with(Parle(sync_every=2)))
    assert len(stamps.read(tmp_path / "coordinator", 9)) == 3

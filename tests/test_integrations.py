"""`ParleCallback` in the loops of Lightning and of transformers, as installed."""

import logging
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from parle_ray import ReplicaOptimizer
from parle_ray.errors import InputError
from parle_ray.strategies import Parle
from tests import torchrun

PAGE = (Path(__file__).parents[1] / "docs" / "migration.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
(WITH_LIGHTNING,) = (block for block in BLOCKS if "integrations.lightning" in block)
(WITH_TRANSFORMERS,) = (block for block in BLOCKS if "integrations.transformers" in block)
STRATEGY = Parle(sync_every=3)
NUM_STEPS = 10  # a round is open at the end
ACCUMULATED = 2

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # theirs, which change with every release
]


class Points(Dataset[dict[str, Tensor]]):
    """80 points in R^6 with a target each."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(80, 6, generator=generator)
        self.b = self.x @ torch.arange(6.0) + 1.0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {"x": self.x[i], "labels": self.b[i]}


class Model(nn.Module):
    """Least squares with a weight and a bias, which loops of both kinds can call."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(6, 1)
        with torch.no_grad():
            self.line.weight.fill_(0.1)
            self.line.bias.fill_(0.2)

    def forward(self, x: Tensor, labels: Tensor, **_: Any) -> dict[str, Tensor]:
        return {"loss": (self.line(x).squeeze(1) - labels).square().mean() / 2.0}


def inner(model: nn.Module) -> torch.optim.Optimizer:
    """Two parameter groups."""
    weight, bias = model.line.weight, model.line.bias
    groups = [{"params": [weight], "lr": 0.05}, {"params": [bias], "lr": 0.01}]
    return torch.optim.SGD(groups, momentum=0.9, nesterov=True)


def schedule(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=NUM_STEPS)


def vector(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def by_hand(num_steps: int = NUM_STEPS, planned: int = NUM_STEPS) -> Tensor:
    """The master of the loop as one writes it, with accumulation, clipping and a scheduler."""
    model = Model()
    rounds = -(-planned // STRATEGY.sync_every)
    optimizer = ReplicaOptimizer(model, inner(model), STRATEGY, num_rounds=rounds)
    scheduler = schedule(optimizer)
    batches = list(DataLoader(Points(), batch_size=4)) * 2
    for step in range(num_steps):
        optimizer.zero_grad()
        for batch in batches[step * ACCUMULATED : (step + 1) * ACCUMULATED]:
            (model(**batch)["loss"] / ACCUMULATED).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    optimizer.swap_master()
    return vector(model)


# Lightning


def lightning_module() -> Any:
    import lightning.pytorch as pl

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = Model()
            self.validated: list[Tensor] = []

        def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
            return self.model(**batch)["loss"]

        def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
            self.validated.append(vector(self.model))

        def configure_optimizers(self) -> Any:
            optimizer = inner(self.model)
            scheduler = {"scheduler": schedule(optimizer), "interval": "step"}
            return {"optimizer": optimizer, "lr_scheduler": scheduler}

    return Module()


def lightning_trainer(folder: Path, *callbacks: Any, **options: Any) -> Any:
    import lightning.pytorch as pl

    from parle_ray.integrations.lightning import ParleCallback

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": folder,
        "accumulate_grad_batches": ACCUMULATED,
        "gradient_clip_val": 1.0,
        "max_steps": NUM_STEPS,
        "enable_checkpointing": False,
    }
    return pl.Trainer(callbacks=[ParleCallback(STRATEGY), *callbacks], **(quiet | options))


def test_lightning_trains_as_a_loop_by_hand_and_validates_the_master(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    module = lightning_module()
    batches = DataLoader(Points(), batch_size=4)
    trainer = lightning_trainer(tmp_path, check_val_every_n_epoch=None, val_check_interval=8)
    trainer.fit(module, batches, DataLoader(Points(), batch_size=80))
    torch.testing.assert_close(vector(module.model), by_hand(), rtol=1e-5, atol=1e-6)
    sanity, *validated = module.validated
    assert torch.equal(sanity, vector(Model()))
    torch.testing.assert_close(validated[0], by_hand(4), rtol=1e-5, atol=1e-6)


def test_lightning_saves_the_master_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from lightning.pytorch.callbacks import ModelCheckpoint

    batches = DataLoader(Points(), batch_size=4)  # a pass is NUM_STEPS
    saver = ModelCheckpoint(tmp_path, save_top_k=-1, filename="{epoch}")
    twice: dict[str, Any] = {"max_steps": -1, "max_epochs": 2}
    whole = lightning_module()
    lightning_trainer(tmp_path, saver, enable_checkpointing=True, **twice).fit(whole, batches)
    path = tmp_path / "epoch=0.ckpt"
    saved = torch.load(path, weights_only=True)["state_dict"]
    saved_vector = torch.cat([saved[f"model.line.{n}"].reshape(-1) for n in ("weight", "bias")])
    expected = by_hand(NUM_STEPS, 2 * NUM_STEPS)
    torch.testing.assert_close(saved_vector, expected, rtol=1e-5, atol=1e-6)
    resumed = lightning_module()
    lightning_trainer(tmp_path, **twice).fit(resumed, batches, ckpt_path=path)
    assert torch.equal(vector(resumed.model), vector(whole.model))


def test_lightning_with_a_gradient_scaler_counts_the_steps_it_leaves_out(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from lightning.pytorch.plugins import MixedPrecision

    points = Points()
    points.b[8:16] = float("inf")  # the second step of each pass
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    module = lightning_module()
    trainer = lightning_trainer(tmp_path, plugins=[plugin])
    trainer.fit(module, DataLoader(points, batch_size=4))
    assert trainer.strategy.optimizers[0].steps == NUM_STEPS
    assert scaler.get_scale() < 2.0
    assert torch.isfinite(vector(module.model)).all()
    assert not torch.equal(vector(module.model), vector(Model()))


def test_lightning_with_two_optimisers_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    module = lightning_module()
    module.configure_optimizers = lambda: [inner(module.model), inner(module.model)]
    module.automatic_optimization = False
    trainer = lightning_trainer(tmp_path, gradient_clip_val=None, accumulate_grad_batches=1)
    with pytest.raises(InputError, match="gives 2 optimisers, a replica has one"):
        trainer.fit(module, DataLoader(Points(), batch_size=4))


def test_the_lines_of_the_page_train_with_lightning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)  # where it keeps its logs
    module = lightning_module()
    loader = DataLoader(Points(), batch_size=4)
    exec(WITH_LIGHTNING, {"module": module, "loader": loader, "epochs": 2, "devices": 1})
    assert not torch.equal(vector(module.model), vector(Model()))


# transformers


def transformers_trainer(folder: Path, **options: Any) -> Any:
    import transformers

    from parle_ray.integrations.transformers import ParleCallback

    class Ordered(transformers.Trainer):  # by_hand() does not shuffle
        def _get_train_sampler(self, *_: Any) -> Any:
            return None

    given: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": NUM_STEPS,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": ACCUMULATED,
        "max_grad_norm": 1.0,
        "use_cpu": True,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
    }
    model = Model()
    optimizer = inner(model)
    return Ordered(
        model,
        transformers.TrainingArguments(**(given | options)),
        train_dataset=Points(),
        eval_dataset=Points(),
        optimizers=(optimizer, schedule(optimizer)),
        callbacks=[ParleCallback(STRATEGY)],
    )


def test_transformers_trains_as_a_loop_by_hand(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    trainer = transformers_trainer(tmp_path)
    trainer.train()
    torch.testing.assert_close(vector(trainer.model), by_hand(), rtol=1e-5, atol=1e-6)


def test_transformers_evaluates_saves_and_resumes_from_the_master(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from safetensors.torch import load_file

    steps = {"eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 4}
    trainer = transformers_trainer(tmp_path, **steps)
    trainer.train()
    torch.testing.assert_close(vector(trainer.model), by_hand(), rtol=1e-5, atol=1e-6)
    saved = load_file(tmp_path / "checkpoint-4" / "model.safetensors")
    saved_vector = torch.cat([saved["line.weight"].reshape(-1), saved["line.bias"]])
    torch.testing.assert_close(saved_vector, by_hand(4), rtol=1e-5, atol=1e-6)
    points, loss = Points(), trainer.state.log_history[0]["eval_loss"]
    model = Model()
    model.load_state_dict(saved)
    assert loss == pytest.approx(model(points.x, points.b)["loss"].item(), rel=1e-4)
    again = transformers_trainer(tmp_path)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    replica = again.optimizer.optimizer
    assert (again.state.global_step, replica.steps, replica.round) == (10, 10, 3)


def test_the_lines_of_the_page_train_with_transformers(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    arguments = transformers_trainer(tmp_path, max_steps=30).args
    model = Model()
    exec(WITH_TRANSFORMERS, {"model": model, "arguments": arguments, "dataset": Points()})
    assert not torch.equal(vector(model), vector(Model()))


# two processes


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchrun gives to all processes alike."""
    torchrun.join(
        monkeypatch,
        WORLD_SIZE="2",
        LOCAL_WORLD_SIZE="2",
        GROUP_RANK="0",
        TORCHELASTIC_RUN_ID="test",
    )


def one_of_two(rank: int, loop: str, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    ends: list[Tensor] = []
    exchange = ReplicaOptimizer._exchange

    def noted(self: ReplicaOptimizer, round: int) -> None:
        ends.append(self._flat.vector.clone())
        exchange(self, round)

    ReplicaOptimizer._exchange = noted  # type: ignore[method-assign]
    if loop == "lightning":
        module = lightning_module()
        trainer = lightning_trainer(folder, strategy="ddp", devices=2)
        trainer.fit(module, DataLoader(Points(), batch_size=4))
        model = module.model
    else:
        trainer = transformers_trainer(folder, ddp_backend="gloo")
        trainer.train()
        model = trainer.model
    torch.save({"walked": ends[0], "master": vector(model)}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("loop", ["lightning", "transformers"])
def test_two_processes_walk_alone_and_end_with_one_master(
    launched: None, tmp_path: Path, loop: str
) -> None:
    pytest.importorskip(loop)
    torch.multiprocessing.spawn(one_of_two, (loop, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert not torch.allclose(first["walked"], second["walked"])
    assert torch.equal(first["master"], second["master"])
    assert not torch.equal(first["master"], vector(Model()))

"""What comes out of a run is the master, in forms that need nothing of ours."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from parle_ray.cli import main
from parle_ray.cluster.wire import pack_tree
from parle_ray.console import graphs
from parle_ray.console.config import Config, ModelConfig, to_dict
from parle_ray.models import build
from parle_ray.runs import checkpoint
from parle_ray.runs.storage import open_folder


def digits_mlp(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build("mlp", 10, (1, 8, 8), hidden=4).eval()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """As the command line leaves it, with two checkpoints."""
    config = Config(model=ModelConfig(name="mlp", args={"hidden": 4}), num_rounds=2)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(to_dict(config)))
    for round in (1, 2):
        model = pack_tree(dict(digits_mlp(round).state_dict()))
        checkpoint.save(open_folder(tmp_path), round, master={}, replicas={}, model=model, spec={})
    return tmp_path


def same(state: dict[str, Tensor], seed: int) -> bool:
    mine = digits_mlp(seed).state_dict()
    return state.keys() == mine.keys() and all(torch.equal(state[k], mine[k]) for k in mine)


def test_a_state_dict_is_the_newest_master(run: Path, capsys: Any) -> None:
    assert main(["export", str(run), "--to", "state_dict"]) == 0
    assert same(torch.load(run / "model.pt", weights_only=True), 2)
    assert f"checkpoint_000002 -> {run / 'model.pt'}" in capsys.readouterr().out


def test_safetensors_of_the_checkpoint_that_is_asked_for(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "old.safetensors"
    words = ["--to", "safetensors", "--checkpoint", "checkpoint_000001", "--out", str(out)]
    assert main(["export", str(run), *words]) == 0
    assert same(load_file(out), 1)


@pytest.mark.nightly
def test_a_torch_export_program_takes_any_batch(run: Path, capsys: Any) -> None:
    assert main(["export", str(run), "--to", "torch_export"]) == 0
    x = torch.randn(7, 1, 8, 8)
    torch.testing.assert_close(torch.export.load(run / "model.pt2").module()(x), digits_mlp(2)(x))
    told = capsys.readouterr().out
    assert "input float32 (any, 1, 8, 8): (pixel - (4.8853,)) / (6.0176,)" in told
    assert "outputs differ from the network's by 0 at most" in told


@pytest.mark.nightly
@pytest.mark.filterwarnings("default")  # of what torch's exporter is made of
def test_an_onnx_model_takes_any_batch(run: Path, capsys: Any) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    import onnxruntime

    assert main(["export", str(run), "--to", "onnx"]) == 0
    session = onnxruntime.InferenceSession(str(run / "model.onnx"))
    x = torch.randn(7, 1, 8, 8)
    (told,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(told), digits_mlp(2)(x))
    assert "outputs differ from the network's by" in capsys.readouterr().out


def damage(run: Path) -> None:
    (run / "checkpoint_000002/model.safetensors").write_bytes(b"nonsense")


def by_functions(run: Path) -> None:
    (run / "config.yaml").write_text("name: mine\nnum_rounds: 3\n")


def another_network(run: Path) -> None:
    file = run / "config.yaml"
    file.write_text(file.read_text().replace("hidden: 4", "hidden: 5"))


def of_a_text(run: Path) -> None:
    file = run / "config.yaml"
    file.write_text(file.read_text().replace("name: digits", "name: python_stdlib"))


def no_network_file(run: Path) -> None:
    (run / "config.yaml").unlink()


@pytest.mark.parametrize(
    ("spoil", "words", "named"),
    [
        (None, "", ["--to"]),
        (None, "--to onxx", ["'onxx'", "onnx"]),
        (None, "--to safetensors --checkpoint checkpoint_000003", ["'checkpoint_000002'"]),
        (None, "--to safetensors --out /nowhere/x", ["out: there is no folder /nowhere"]),
        (damage, "--to safetensors", ["model.safetensors is damaged"]),
        (by_functions, "--to torch_export", ["names no network", "--to safetensors"]),
        (another_network, "--to torch_export", ["not of mlp", "--to safetensors"]),
        (of_a_text, "--to torch_export", ["only those of images", "safetensors"]),
        (no_network_file, "--to torch_export", ["config.yaml", "--to safetensors"]),
    ],
)
def test_what_cannot_be_exported_is_one_message_that_names_the_way_out(
    spoil: Any, words: str, named: list[str], run: Path, capsys: Any
) -> None:
    if spoil is not None:
        spoil(run)
    assert main(["export", str(run), *words.split()]) == 2
    told = capsys.readouterr().err
    assert told.startswith("parle: ")
    assert told.count("\n") == 1, told
    assert all(name in told for name in named), told


def test_a_folder_without_checkpoints_is_no_run(tmp_path: Path, capsys: Any) -> None:
    assert main(["export", str(tmp_path), "--to", "safetensors"]) == 2
    assert "has no checkpoint; name the folder of a run" in capsys.readouterr().err


def test_without_onnx_the_message_says_what_to_install(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(graphs, "find_spec", lambda name: None)
    assert main(["export", str(run), "--to", "onnx"]) == 2
    assert "pip install onnx onnxscript onnxruntime" in capsys.readouterr().err

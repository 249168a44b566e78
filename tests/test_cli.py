"""The command line: one message and an exit status for every mistake, and a run that ends well."""

import runpy
import shlex
import sys
from pathlib import Path

import pytest

from parle_ray.cli import COMMANDS, main
from parle_ray.console.summary import amounts
from parle_ray.errors import (
    ClusterError,
    Diverged,
    InputError,
    StorageError,
    TooFewReplicas,
    UserCodeError,
)
from parle_ray.strategies import STRATEGIES

ROOT = Path(__file__).parent.parent
SHIPPED = sorted((ROOT / "jobs" / "configs").glob("*.yaml"))

# argv -> what the one message must name: the field, the value or the nearest name.
MISTAKES = {
    "trian": ["'trian'", "'train'"],
    "train": ["num_rounds", "num_epochs"],
    "train --num_rounds 3 --num_epochs 4": ["both", "3", "4"],
    "train --num_rounds 0": ["num_rounds must be >= 1, got 0"],
    "train --num_rounds 1.5": ["num_rounds", "whole number", "'1.5'"],
    "train --num_r 3": ["--num_r", "'num_rounds'"],
    "train --batch_size 3": ["'data.batch_size'"],
    "train --data.batch_siz 3": ["'data.batch_size'"],
    "train --data.batch_size x": ["data.batch_size", "whole number", "'x'"],
    "train --data.batch_size 0 --num_rounds 1": ["data.batch_size must be >= 1, got 0"],
    "train --data.name fashon_mnist --num_rounds 1": ["data.name", "'fashion_mnist'"],
    "train --data digits --num_rounds 1": ["--data.name digits"],
    "train --data.fraction 2 --num_rounds 1": ["data.fraction", "2"],
    "train --data.augment maybe": ["data.augment", "true or false"],
    "train --model.args 3": ["model.args", "mapping"],
    "train --strategy Parl": ["strategy", "'Parl'", "'Parle'"],
    "train --strategy torch.optim.SGD": ["strategy", "ElasticSGD"],
    "train --strategy.outr_lr 3": ["strategy.outr_lr", "'outer_lr'"],
    "train --strategy ElasticSGD --strategy.outer_lr 3": ["strategy.outer_lr", "ElasticSGD"],
    "train --strategy.sync_every 0 --num_rounds 1": ["sync_every must be >= 1, got 0"],
    "train --strategy.sync_every 2.5": ["strategy.sync_every", "whole number"],
    "train --strategy.gamma 0 --num_rounds 1": ["gamma must be > 0", "0.0"],
    "train --strategy.gamma -1 --num_rounds 1": ["gamma must be > 0", "-1.0"],
    "train --strategy.rho 0 --num_rounds 1": ["rho must be > 0", "0.0"],
    "train --strategy.outer_lr -1 --num_rounds 1": ["outer_lr must be > 0", "-1.0"],
    "train --strategy.gamma Scopin": ["strategy.gamma", "'Scoping'"],
    "train --strategy.gamma Scoping --strategy.gamma.initail 3": ["'initial'"],
    "train --strategy.gamma Scoping --strategy.gamma.initial x": ["gamma.initial", "a number"],
    "train --strategy.reference mastr": ["strategy.reference", "'master'", "'mean_z'"],
    "train --num_replicas 0 --num_rounds 1": ["num_replicas must be >= 1, got 0"],
    "train --optimizer Adm": ["optimizer", "'Adam'"],
    "train --optimizer.lr x": ["optimizer.lr", "a number", "'x'"],
    "train --optimizer.lr 0 --num_rounds 1": ["optimizer.lr must be > 0, got 0.0"],
    "train --optimizer.lr -1 --num_rounds 1": ["optimizer.lr must be > 0, got -1.0"],
    "train --optimizer.momentm 0": ["optimizer.momentm", "'momentum'"],
    "train --optimizer LBFGS --num_rounds 1": ["LBFGS", "closure"],
    "train --lr_schedule cosin": ["lr_schedule", "'cosine'"],
    "train --execution.device gpu --num_rounds 1": ["execution.device", "'gpu'", "cuda"],
    "train --execution.autocast float16 --num_rounds 1": ["autocast", "bfloat16"],
    "train --gpus_per_replica 1.5 --num_rounds 1": ["gpus_per_replica", "1.5"],
    "train --gpus_per_replica 1 --execution.num_processes 2 --num_rounds 1": [
        "gpus_per_replica must be >= execution.num_processes = 2, or 0, got 1"
    ],
    "plan --execution.num_processes 2": ["execution.num_processes", "give step_s"],
    "train --seed -1 --num_rounds 1": ["seed must be >= 0, got -1"],
    "train --name ../x --num_rounds 1": ["name", "'../x'", "storage_path"],
    "train --config nowhere.yaml": ["config", "nowhere.yaml"],
    "train --num_rounds": ["--num_rounds", "missing"],
    "train stray": ["'stray'"],
    "train ''": ["unexpected ''"],
    "simulate --model.name mlp --model.args.hiden 3 --num_rounds 1": ["hiden", "'hidden'"],
    "simulate --model.name no.such:thing --num_rounds 1": ["no.such:thing", "PYTHONPATH"],
    "strategies foo": ["'foo'"],
}
# An unknown model is looked for among torchvision's too: 12 s of import, so tests leave it out.

FILES = {
    "num_round: 3": ["num_round", "'num_rounds'"],
    "data: {batch_siz: 3}": ["data.batch_siz", "'data.batch_size'"],
    "strategy: {class_path: Parle, init_args: {sync_evry: 7}}": ["'sync_every'"],
    "strategy: {class_path: Parle, sync_every: 7}": ["strategy", "init_args"],
    "strategy: Parl": ["strategy", "'Parle'"],
    "strategy: elastic_sgd": ["strategy", "'ElasticSGD'"],
    "optimizer: {class_path: AdamW, init_args: {l: 1}}": ["optimizer.l", "'lr'"],
    "data: [\n x: }": ["config", "YAML", "line 2"],
    "- 3": ["config"],
    "num_rounds: 3\nconfig: {a: 1}": ["config", "--print_config"],
    "": ["config"],
}


def ends(capsys, argv):
    """Exit status, standard output, standard error of a command."""
    status = main(argv)
    told = capsys.readouterr()
    return status, told.out, told.err


def assert_one_message(status, out, err, named):
    assert status == 2, err
    assert out == ""
    assert err.startswith("parle: ")
    assert err.count("\n") == 1, err
    assert len(err) < 320, err
    for what in named:
        assert what in err, err


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_answered_by_one_message_and_status_2(capsys, command):
    assert_one_message(*ends(capsys, shlex.split(command)), MISTAKES[command])


@pytest.mark.parametrize("text", FILES)
def test_a_mistake_in_a_file_is_answered_by_one_message_and_status_2(capsys, tmp_path, text):
    file = tmp_path / "run.yaml"
    file.write_text(text)
    assert_one_message(*ends(capsys, ["train", "--config", str(file)]), FILES[text])


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_file_prints_a_configuration_that_loads_as_itself(capsys, tmp_path, file):
    status, printed, err = ends(capsys, ["train", "--config", str(file), "--print_config"])
    assert (status, err) == (0, "")
    again = tmp_path / "again.yaml"
    again.write_text(printed)
    assert ends(capsys, ["train", "--config", str(again), "--print_config"]) == (0, printed, "")


def test_quickstart_is_the_shipped_digits_file(capsys):
    digits = ["train", "--config", str(ROOT / "jobs/configs/digits.yaml"), "--print_config"]
    assert ends(capsys, ["quickstart", "--print_config"]) == ends(capsys, digits)


def test_jobs_train_is_train(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["jobs/train.py", "--num_rounds", "0"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("jobs.train", run_name="__main__")
    assert end.value.code == 2
    assert capsys.readouterr().err == "parle: num_rounds must be >= 1, got 0\n"


def test_strategies_lists_all_with_equation_traffic_and_source(capsys):
    status, out, err = ends(capsys, ["strategies"])
    assert (status, err) == (0, "")
    told = out.split("\n\n")[0].splitlines()
    for name, equation, traffic, source in zip(
        sorted(STRATEGIES), told[0::3], told[1::3], told[2::3], strict=True
    ):
        kind = STRATEGIES[name]
        assert equation.split(maxsplit=1) == [kind.__name__, kind.equation]
        assert f"every {kind().sync_every} steps" in traffic or kind().sync_every == 1
        much, back = amounts(STRATEGIES[name]())
        assert f": {much} vector up (" in traffic
        assert f", {back} down (" in traffic
        assert ("behind the next round" in traffic) is kind().overlaps
        assert source.strip() == kind.source
    assert max(map(len, told)) <= 100


def test_doctor_says_ok_warn_or_fail_with_a_fix(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    status, out, err = ends(capsys, ["doctor"])
    assert (status, err) == (1, "")
    assert "fail  nothing listens at RAY_ADDRESS 127.0.0.1:1" in out
    assert f"chmod 600 {token}" in out
    assert "secret" not in out
    assert "digits" in out
    assert {text[:5].strip() for text in out.splitlines()} == {"ok", "warn", "fail", ""}


def test_help_names_every_command_and_every_command_has_help(capsys):
    status, out, err = ends(capsys, [])
    assert (status, err) == (0, "")
    for name in COMMANDS:
        assert f"  {name} " in out
        assert ends(capsys, [name, "--help"])[0] == 0


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("x"), 2),
        (UserCodeError("x"), 3),
        (ZeroDivisionError("x"), 3),
        (Diverged("x"), 4),
        (StorageError("x"), 5),
        (ClusterError("x"), 7),
        (TooFewReplicas("x"), 6),
        (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
        (SystemExit(15), 143),
    ],
)
def test_every_end_has_its_exit_status(capsys, monkeypatch, error, status):
    def fail(argv, prog):
        raise error

    monkeypatch.setattr("parle_ray.console.commands.train", fail)
    got, out, err = ends(capsys, ["train"])
    assert (got, out) == (status, "")
    assert ("Traceback" in err) == isinstance(error, ZeroDivisionError)
    assert "\nparle: " in f"\n{err}"


def test_a_mistake_of_ours_is_not_laid_at_the_users_door(capsys, monkeypatch):
    code = compile("1 / 0", ROOT / "parle_ray" / "roll.py", "exec")
    monkeypatch.setattr("parle_ray.console.commands.train", lambda argv, prog: exec(code))
    assert ends(capsys, ["train"])[0] == 1


def test_debug_shows_the_traceback(capsys):
    status, _, err = ends(capsys, ["train", "--debug", "--num_rounds", "0"])
    assert status == 2
    assert "Traceback" in err
    assert err.endswith("parle: num_rounds must be >= 1, got 0\n")

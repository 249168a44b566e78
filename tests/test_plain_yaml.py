"""YAML that means two things, or costs more than its length, is refused before it is built."""

from itertools import pairwise

import pytest
import yaml

from parle_ray.cli import main
from parle_ray.console import plain_yaml

BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n" for before, name in pairwise("abcdefghi")
)

REFUSED = {
    "a: 1\nb: 2\na: 3": "'a' is given twice, again in line 3",
    "a: {b: [1, 1], b: 2}": "'b' is given twice",
    "a: " + 30_000 * "[": "more than 20 lists|maximum nesting depth",  # PyYAML's from 6.0.4
    "a: '" + 900 * "[" + "'": "more than",
    BOMB: "anchor or alias",
    "a: !!python/object/apply:os.system ['true']": "the tag",
    "a: " + 5000 * "9": "5,000 digits",
    "? ''\n: 1": "is no name",
    'a: 1\nb: "x\\0"': "NUL character in line 2",
    "x" * 70_000: "70,000 characters",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_what_is_not_plain_is_refused(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match=REFUSED[text]):
        plain_yaml.load(text)


@pytest.mark.parametrize("value", ["1e3", "true", "x: y", "", "é\n[", "0x1", "null", "1_0"])
def test_a_text_is_written_so_that_it_is_read_as_itself(value: str) -> None:
    assert plain_yaml.load(plain_yaml.dump({"a": value})) == {"a": value}


def test_text_that_is_no_yaml_is_left_alone() -> None:
    plain_yaml.check_text("[a: b: c")
    with pytest.raises(yaml.YAMLError):
        plain_yaml.load("[a: b: c")


def test_a_file_that_is_too_large_is_not_opened(tmp_path, capsys) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as sparse:
        sparse.truncate(100 * 10**9)
    assert main(["train", "--config", str(file)]) == 2
    assert "has 100,000,000,000 bytes, at most 65,536 are read" in capsys.readouterr().err


def test_what_a_class_path_names_is_not_called_where_plain_values_are_meant(
    tmp_path, capsys
) -> None:
    """jsonargparse would, where an annotation is `Any`."""
    canary = tmp_path / "canary"
    evil = f"{{class_path: os.system, init_args: {{command: touch {canary}}}}}"
    optimizer = f"{{class_path: torch.optim.Optimizer, init_args: {{defaults: {{x: {evil}}}}}}}"
    for option, value in {
        "model.args.hidden": evil,
        "model.args": f"{{hidden: [{evil}]}}",
        "optimizer": optimizer,
    }.items():
        assert main(["train", f"--{option}", value, "--num_rounds", "3", "--print_config"]) == 2
        assert "class_path is not read here" in capsys.readouterr().err
    assert not canary.exists()

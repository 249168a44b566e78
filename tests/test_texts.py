"""Texts as a set: what is read, how it is cut and gone through, and the network that learns it."""

import math
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from parle_ray.console.config import Config, DataConfig, InnerOptimizer, ModelConfig
from parle_ray.console.recipe import make_recipe
from parle_ray.data import TextLoader, TextSet, in_order, load_examples, make_loader, scores
from parle_ray.data.python_library import LEAST, load_python_library, source_files
from parle_ray.data.text_loader import take
from parle_ray.errors import InputError
from parle_ray.models import build, build_text
from parle_ray.progress import line
from parle_ray.simulate import simulate
from parle_ray.strategies import Parle

WORDS = b"the cat sat on the mat, "


def text_set(num_bytes: int = 200, context: int = 8, text: bytes | None = None) -> TextSet:
    text = bytes(range(num_bytes)) if text is None else text
    return TextSet.cut(text, context, name="alphabet", digest="0" * 64, source="a test")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A Python with 40 files, and what is not read beside them."""
    for i in range(40):
        (tmp_path / f"module_{i}.py").write_bytes(b"%d" % i * (LEAST // 10))
    for name in ("test/test_it.py", "site-packages/other.py", "_sysconfigdata_x.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("not read")
    return tmp_path


def test_every_byte_but_the_first_is_a_label_once_and_follows_its_input() -> None:
    texts = text_set(201)
    x, y = (torch.cat(part) for part in zip(*in_order(texts, 7), strict=True))
    assert torch.equal(y, x + 1)
    assert y.flatten().tolist() == list(range(1, 201))
    assert (x.dtype, x.shape) == (torch.int64, (25, 8))


def test_a_text_that_has_no_room_for_an_example_is_refused() -> None:
    assert len(text_set(9)) == 1
    for num_bytes, context in ((8, 8), (0, 8), (9, 0)):
        with pytest.raises(InputError, match=r"data\.context"):
            text_set(num_bytes, context)


def test_a_text_cannot_be_written_to_and_crosses_processes_out_of_band() -> None:
    texts = text_set()
    with pytest.raises(ValueError, match="read-only"):
        texts.text[0] = 1
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(texts, protocol=5, buffer_callback=buffers.append)
    assert len(data) < 1000
    copy = pickle.loads(data, buffers=buffers)  # noqa: S301 - it crosses processes
    assert np.array_equal(copy.text, texts.text)


def test_what_is_held_out_is_the_end_and_what_is_taken_stays_in_order() -> None:
    train, held_out = text_set().validation_split(5)
    assert held_out.starts.min() > train.starts.max()
    assert (len(train), len(held_out)) == (19, 5)
    assert text_set().take(np.array([3, 1])).starts.tolist() == [24, 8]
    with pytest.raises(InputError, match=r"num_held_out must be 1\.\.23"):
        text_set().validation_split(24)


def loader(**changes: Any) -> TextLoader:
    return TextLoader(text_set(), **({"batch_size": 5, "seed": 1} | changes))


def shown(batches: Iterable[tuple[Tensor, Tensor]]) -> list[list[int]]:
    """The last byte of each example, by batches."""
    return [y[:, -1].tolist() for _, y in batches]


def flat(lists: Iterable[list[int]]) -> list[int]:
    return [item for items in lists for item in items]


def test_a_pass_shows_every_example_once_and_the_next_another_order() -> None:
    given = loader(batch_size=6)
    first, second = shown(given), shown(given)
    assert sorted(flat(first)) == sorted(flat(second)) == list(range(8, 200, 8))
    assert first != second
    assert shown(loader(batch_size=6)) == first
    assert shown(loader(batch_size=6, rank=1, num_replicas=2)) != first


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 6])
def test_a_loader_goes_on_from_its_state_with_the_very_next_batch(taken: int) -> None:
    given, again = loader(), loader()
    through = [b for _ in range(3) for b in given]
    stopped, left = loader(), taken
    while left:
        for _ in stopped:
            left -= 1
            if not left:
                break
    again.load_state_dict(stopped.state_dict())
    rest = [b for _ in range(2) for b in again]
    assert shown(rest) == shown(through)[taken : taken + len(rest)]


def test_an_accelerator_gives_the_batches_of_the_host() -> None:
    texts, starts = text_set(), np.array([8, 0, 40])
    moved = torch.from_numpy(texts.text.copy())
    for mine, theirs in zip(take(texts, starts), take(texts, starts, moved), strict=True):
        assert torch.equal(mine, theirs)


def test_a_position_in_another_text_is_refused() -> None:
    state = loader().state_dict()
    with pytest.raises(InputError, match="resume with the text, and the Python, of the run"):
        loader().load_state_dict(state | {"text": "1" * 16})
    with pytest.raises(InputError, match="a pass has 4 batches of 5"):
        loader().load_state_dict(state | {"batch": 9})


def test_replicas_share_a_text_in_windows_and_a_text_is_not_flipped() -> None:
    shared: dict[str, Any] = {"num_replicas": 2, "seed": 0, "augment": False, "fraction": 0.5}
    rows = [shown(make_loader(text_set(), 4, rank=rank, **shared)) for rank in (0, 1)]
    assert sorted(flat(rows[0] + rows[1])) == list(range(8, 200, 8))
    with pytest.raises(InputError, match=r"data\.augment: .*set it to false"):
        make_loader(text_set(), 4, rank=0, **(shared | {"augment": True}))


def test_a_library_is_read_by_the_hash_of_its_names_and_known_by_its_checksum(
    library: Path,
) -> None:
    assert sorted(source_files(library)) == sorted(f"module_{i}.py" for i in range(40))
    train, held_out = load_python_library(64, library)
    again, _ = load_python_library(64, library)
    assert np.array_equal(train.text, again.text)
    assert (train.digest, train.origin) == (again.digest, again.origin)
    halves = [set(half.text.tobytes().split(b"\n")) for half in (train, held_out)]
    assert not halves[0] & halves[1]
    assert sum(map(len, halves)) == 40
    assert len(held_out) == 512
    (library / "module_3.py").write_bytes(b"changed")
    other, _ = load_python_library(64, library)
    assert other.digest != train.digest
    assert other.digest[:16] in other.origin


def test_a_python_without_sources_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "this.py").write_text("import antigravity\n")
    with pytest.raises(InputError, match=r"has 19 bytes of Python's own .*train on digits"):
        load_python_library(128, tmp_path)


def test_this_python_has_its_library_and_a_context_is_for_texts() -> None:
    train, held_out = load_examples("python_stdlib", context=32)
    assert len(train.text) > 5 * len(held_out.text) > 0  # type: ignore[union-attr]
    assert train.model_arguments == {"num_classes": 256, "context": 32}
    with pytest.raises(InputError, match=r"data\.context: it is for texts, digits has images"):
        load_examples("digits", context=32)


def small() -> nn.Module:
    torch.manual_seed(0)
    return build_text("byte_lm", 256, 8, width=16, depth=2, heads=2)


def test_the_network_has_a_million_parameters_and_starts_near_even_odds() -> None:
    model = build_text("byte_lm", 256, 128)
    assert sum(p.numel() for p in model.parameters()) == 1_040_768
    text = torch.arange(24).view(3, 8)
    loss = scores.loss(small(), (text, text))
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(math.log(256), abs=0.3)


@pytest.mark.parametrize("training", [True, False])
def test_no_byte_is_told_by_those_after_it(training: bool) -> None:
    model, text = small().train(training), torch.arange(8).view(1, 8)
    changed = text.clone()
    changed[0, 5] = 200
    with torch.no_grad():
        before, after = model(text), model(changed)
    assert torch.equal(before[0, :5], after[0, :5])
    assert not torch.equal(before[0, 5:], after[0, 5:])


def test_the_network_computes_the_same_with_and_without_a_gradient() -> None:
    model, text = small().eval(), torch.arange(8).view(1, 8)
    with torch.no_grad():
        fast = model(text)
    torch.testing.assert_close(fast, model(text), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("byte_lm", {"width": 10, "heads": 4}, "width must be a multiple of heads"),
        ("byte_lm", {"depth": 0}, "all sizes >= 1"),
        ("byte_lm", {"dropout": 1.0}, "dropout must be"),
        ("byte_lm", {"dept": 1}, "Did you mean 'depth'"),
        ("byte_ml", {}, r"got 'byte_ml'\. Did you mean 'byte_lm'"),
        ("lenet", {}, "must be one of byte_lm"),
    ],
)
def test_a_wrong_network_for_texts_is_the_users_error(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_text(name, 256, 8, **arguments)


def test_a_network_for_texts_is_none_for_images() -> None:
    with pytest.raises(InputError, match="byte_lm reads texts, not images: use one of all_cnn"):
        build("byte_lm", 10, (1, 8, 8))


def test_a_metric_in_bits_is_that_in_nats_by_the_logarithm_of_two() -> None:
    told = text_set().metrics(0.25, 2 * math.log(2.0))
    assert told == {"accuracy": 0.25, "test_loss": pytest.approx(1.386294), "bits_per_byte": 2.0}
    report = {"round": 1, "num_rounds": 2, "loss": 1.0, "distance": 0.0, **told}
    assert "master 25.0 %, 2.000 bits/byte" in line(report, 1.0)


def test_parle_learns_a_text_with_adamw_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = text_set(text=WORDS * 40), text_set(text=WORDS * 8)
    monkeypatch.setattr("parle_ray.console.recipe.load_examples", lambda *_: pair)
    config = Config(
        data=DataConfig(name="python_stdlib", batch_size=16),
        model=ModelConfig(name="byte_lm", args={"width": 32, "depth": 1, "heads": 2}),
        optimizer=InnerOptimizer("torch.optim.AdamW", {"lr": 0.01}),
        strategy=Parle(sync_every=5),
        num_replicas=2,
        num_rounds=4,
        evaluate_every=1,
    )
    history = simulate(**make_recipe(config).arguments, num_replicas=2).history
    bits = [report["bits_per_byte"] for report in history]
    assert bits[0] > bits[-1]
    assert bits[-1] < 3.0
    assert history[-1]["error"] == pytest.approx(1.0 - history[-1]["accuracy"])

"""Codecs keep their bounds, links keep both ends equal and lose nothing for good."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from parle_ray.compression import (
    CODECS,
    ChunkedCodec,
    Pusher,
    Receiver,
    Sender,
    check_compression,
    choose,
    measure,
    read_push,
)
from parle_ray.compression.blocks import BLOCK, SMALLEST_SCALE, BlockCodec, Int4, Int8
from parle_ray.compression.codecs import CHUNK, Bfloat16, Exact
from parle_ray.errors import InputError

RAGGED = [1, 2, 3, 511, 512, 513, 1023, 1024, 1025, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 777]
LARGEST = torch.finfo(torch.float32).max

each_block_codec = pytest.mark.parametrize("kind", [Int8, Int4])
each_lossy = pytest.mark.parametrize("kind", [Bfloat16, Int8, Int4])
each_codec = pytest.mark.parametrize("name", CODECS)


def normal(num_params: int, seed: int = 0) -> Tensor:
    return torch.randn(num_params, generator=torch.Generator().manual_seed(seed))


def scales(kind: type[BlockCodec], vector: Tensor) -> Tensor:
    """The scale of every element's block, by the definition, in float64."""
    padded = torch.zeros(-(-len(vector) // BLOCK) * BLOCK, dtype=torch.float64)
    padded[: len(vector)] = vector
    peaks = padded.view(-1, BLOCK).abs().amax(1, keepdim=True)
    scale = (peaks / kind.top).clamp(min=SMALLEST_SCALE)
    return scale.expand(-1, BLOCK).reshape(-1)[: len(vector)]


def through(kind: type[ChunkedCodec], vector: Tensor) -> Tensor:
    codec = kind()
    return codec.decode(codec.encode(vector), len(vector))


def assert_within_half_a_scale(kind: type[BlockCodec], sent: Tensor, got: Tensor) -> None:
    error = (got.double() - sent.double()).abs()
    slack = 1e-6 * sent.double().abs()  # of the float32 that the answer is
    assert (error <= scales(kind, sent) * 0.5001 + slack).all()


vectors = st.builds(
    lambda num_params, seed, exponent, spread: (
        (normal(num_params, seed).double() * 10.0 ** (exponent + spread * normal(num_params, 1)))
        .clamp(-LARGEST, LARGEST)
        .float()
    ),
    st.integers(1, 2500),
    st.integers(0, 1000),
    st.integers(-44, 38),
    st.sampled_from([0.0, 1.0, 10.0]),
)


@each_block_codec
@given(vector=vectors)
def test_what_comes_out_is_at_most_half_a_scale_away(
    kind: type[BlockCodec], vector: Tensor
) -> None:
    assert_within_half_a_scale(kind, vector, through(kind, vector))


@each_block_codec
@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_any_finite_numbers_keep_the_bound(kind: type[BlockCodec], values: list[float]) -> None:
    vector = torch.tensor(values)
    assert_within_half_a_scale(kind, vector, through(kind, vector))


@each_block_codec
def test_the_bound_holds_for_every_ragged_end(kind: type[BlockCodec]) -> None:
    for num_params in RAGGED:
        vector = normal(num_params)
        assert_within_half_a_scale(kind, vector, through(kind, vector))


@each_block_codec
def test_whole_multiples_of_the_scale_are_exact(kind: type[BlockCodec]) -> None:
    levels = torch.arange(-kind.top, kind.top + 1, dtype=torch.float32)
    vector = levels.repeat(2 * BLOCK)[: 3 * BLOCK + 5 * len(levels)]
    assert torch.equal(through(kind, vector), vector)


@each_block_codec
def test_zeros_stay_zeros_beside_the_largest_and_the_smallest_floats(
    kind: type[BlockCodec],
) -> None:
    vector = torch.zeros(4 * BLOCK)
    vector[BLOCK : BLOCK + 2] = torch.tensor([LARGEST, -LARGEST])
    vector[2 * BLOCK] = 1e-45
    got = through(kind, vector)
    assert not got[:BLOCK].any()
    assert not got[3 * BLOCK :].any()
    assert got[BLOCK].item() == pytest.approx(LARGEST, rel=1e-6)
    assert_within_half_a_scale(kind, vector, got)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_none_is_the_vector_bit_for_bit_in_its_own_dtype(dtype: torch.dtype) -> None:
    vector = torch.cat([normal(100), torch.tensor([torch.nan, torch.inf, -0.0, 1e-45])]).to(dtype)
    codec = Exact()
    array = codec.encode(vector)
    assert array.nbytes == codec.encoded_bytes(len(vector), dtype)
    into = torch.zeros_like(vector)
    for got in (codec.decode(array, len(vector)), codec.decode(array, len(vector), into), into):
        assert got.dtype == dtype
        assert torch.equal(got.view(torch.uint8), vector.view(torch.uint8))
        assert got.data_ptr() != vector.data_ptr()


@given(vector=vectors)
def test_bf16_rounds_to_eight_bits_and_is_exact_for_what_has_no_more(vector: Tensor) -> None:
    got = through(Bfloat16, vector)
    assert torch.equal(got, vector.bfloat16().float())
    again = through(Bfloat16, got)
    assert torch.equal(again.view(torch.int32), got.view(torch.int32))


def test_the_bytes_are_as_promised() -> None:
    for name, kind in CODECS.items():
        codec = kind()
        for num_params in RAGGED:
            array = codec.encode(normal(num_params))
            assert array.ndim == 1
            assert array.flags.c_contiguous
            assert array.nbytes == codec.encoded_bytes(num_params), name
            assert array.nbytes <= 4 * num_params + 4
    for name, per_param in (("none", 4.0), ("bf16", 2.0), ("int8", 1.0), ("int4", 0.5)):
        size = CODECS[name]().encoded_bytes(11_000_000)
        assert per_param <= size / 11_000_000 <= 1.01 * per_param


@each_lossy
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e300])
def test_what_is_not_finite_comes_out_so_and_harms_its_block_alone(
    kind: type[ChunkedCodec], bad: float
) -> None:
    for num_params, at in ((1, 0), (4 * BLOCK, 2 * BLOCK), (2 * CHUNK + 777, 2 * CHUNK + 776)):
        vector = normal(num_params).double()
        vector[at] = bad
        got = through(kind, vector)
        assert not got[at].isfinite()
        width = BLOCK if issubclass(kind, BlockCodec) else 1
        block = slice(at // width * width, at // width * width + width)
        assert not got[block].isfinite().any()
        got[block] = 0.0
        assert got.isfinite().all()


@each_codec
def test_a_code_may_lie_in_read_only_memory_and_decode_to_any_dtype(name: str) -> None:
    codec, vector = CODECS[name](), normal(3 * BLOCK + 5)
    array = codec.encode(vector.clone())
    array.flags.writeable = False
    before = array.tobytes()
    expected = codec.decode(array, len(vector))
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16):
        out = torch.zeros(len(vector), dtype=dtype)
        assert codec.decode(array, len(vector), out) is out
        assert torch.equal(out, expected.to(dtype))
    every_second = torch.zeros(2 * len(vector))[::2]
    assert torch.equal(codec.decode(array, len(vector), every_second), expected)
    expected.add_(1.0)
    assert array.tobytes() == before


@each_lossy
def test_the_dtype_and_the_layout_of_the_vector_do_not_matter(kind: type[ChunkedCodec]) -> None:
    vector = normal(CHUNK + 2 * BLOCK + 5).bfloat16()
    apart = torch.stack([vector.float(), vector.float()], dim=1)[:, 0]
    codec = kind()
    expected = codec.encode(vector.float()).tobytes()
    for same in (vector, vector.double(), apart):
        assert codec.encode(same).tobytes() == expected


@each_codec
def test_a_code_of_another_length_is_refused(name: str) -> None:
    codec = CODECS[name]()
    with pytest.raises(InputError, match=rf"compression '{name}'.*model_fn must build the same"):
        codec.decode(codec.encode(normal(2000)), 3000)


@each_lossy
@given(num_params=st.sampled_from([1, 7, BLOCK + 3, CHUNK + 9]), seed=st.integers(0, 99))
def test_both_ends_have_the_same_bits_after_any_number_of_rounds(
    kind: type[ChunkedCodec], num_params: int, seed: int
) -> None:
    start = normal(num_params, seed)
    sender, receiver = Sender(kind(), start), Receiver(kind(), start)
    vector = start.clone()
    for round in range(6):
        vector += 0.1 * normal(num_params, 1000 + round)
        got = receiver.receive(sender.send(vector))
        assert torch.equal(got, sender.known)


@each_block_codec
def test_the_ends_stay_half_a_quantum_of_the_last_difference_from_what_was_sent(
    kind: type[BlockCodec],
) -> None:
    sender = Sender(kind(), torch.zeros(BLOCK + 10))
    vector = torch.zeros(BLOCK + 10)
    for round in range(50):
        vector += 0.01 * normal(len(vector), round)
        delta = vector - sender.known
        sender.send(vector)
        assert_within_half_a_scale(kind, delta, sender.known - (vector - delta))


@each_block_codec
def test_a_vector_that_rests_is_known_to_the_last_bits_soon(kind: type[BlockCodec]) -> None:
    vector = normal(5000)
    sender = Sender(kind(), torch.zeros(5000))
    for _ in range(10):
        sender.send(vector)
    assert torch.allclose(sender.known, vector, rtol=2e-7, atol=1e-7)


@each_block_codec
def test_the_sum_of_what_arrives_is_the_sum_of_what_was_pushed_but_for_one_quantum(
    kind: type[BlockCodec],
) -> None:
    codec, pusher, num_params = kind(), Pusher(kind(), 3000), 3000
    bias = 1e-3 * normal(num_params).abs()  # what rounding alone would lose, every time
    wanted, arrived = torch.zeros(num_params).double(), torch.zeros(num_params).double()
    for round in range(200):
        push = normal(num_params, round) + bias
        owed = push + pusher.residual
        wanted += push
        arrived += codec.decode(pusher.push(push), num_params)
    assert ((wanted - arrived).abs() <= 0.51 * scales(kind, owed) + 1e-4).all()


@each_lossy
def test_a_push_is_read_against_the_reference_it_was_measured_from(
    kind: type[ChunkedCodec],
) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        reference = normal(2 * CHUNK + 5).to(dtype)
        vector = reference + 0.01 * normal(len(reference), 1).to(dtype)
        pusher = Pusher(kind(), len(vector))
        out = torch.empty_like(vector)
        assert read_push(kind(), pusher.push(vector, reference), reference, out) is out
        lost = vector.float() - out.float()
        rounding = 0.02 if dtype == torch.bfloat16 else 1e-6
        assert torch.allclose(lost, pusher.residual, atol=rounding)


@each_lossy
def test_a_link_goes_on_from_its_saved_state_bit_for_bit(kind: type[ChunkedCodec]) -> None:
    def rounds(sender: Sender, pusher: Pusher, first: int) -> list[bytes]:
        vectors = [normal(2000, first + i) for i in range(3)]
        return [sender.send(v).tobytes() + pusher.push(v).tobytes() for v in vectors]

    sender, pusher = Sender(kind(), torch.zeros(2000)), Pusher(kind(), 2000)
    rounds(sender, pusher, 0)
    saved = [{k: v.clone() for k, v in end.state_dict().items()} for end in (sender, pusher)]
    expected = rounds(sender, pusher, 3)
    again = Sender(kind(), torch.zeros(2000)), Pusher(kind(), 2000)
    for end, state in zip(again, saved, strict=True):
        end.load_state_dict(state)
    assert rounds(*again, 3) == expected


@each_block_codec
def test_who_joins_late_starts_from_what_the_others_know(kind: type[BlockCodec]) -> None:
    sender, late = Sender(kind(), torch.zeros(3000)), Receiver(kind(), torch.ones(3000))
    sender.send(normal(3000))
    late.reset(sender.known)
    assert torch.equal(late.receive(sender.send(normal(3000, 1))), sender.known)


@each_lossy
def test_a_replica_that_starts_again_owes_nothing(kind: type[ChunkedCodec]) -> None:
    pusher, fresh = Pusher(kind(), 3000), Pusher(kind(), 3000)
    sick = normal(3000)
    sick[5] = torch.nan
    out = torch.empty(3000)
    reference = normal(3000, 1)
    read_push(kind(), pusher.push(sick, reference), reference, out)
    assert not out.sum().isfinite()  # which the coordinator's test of a push is
    pusher.reset()
    well = normal(3000, 2)
    assert pusher.push(well).tobytes() == fresh.push(well).tobytes()


SPEEDS = {"none": 1e-9, "bf16": 3e-9, "int8": 6e-9, "int4": 8e-9}


@pytest.mark.parametrize(
    ("link_bytes_per_s", "best"),  # ns a parameter of none, bf16, int8, int4:
    [
        (0.1e9, "int4"),  # 41, 23, 16, 13
        (0.3e9, "int8"),  # 14.3, 9.7, 9.3, 9.7
        (0.35e9, "bf16"),  # 12.4, 8.7, 8.9, 9.4
        (0.8e9, "none"),  # 6, 5.5, 7.3, 8.6: a little faster is not worth it
        (10e9, "none"),
        (float("inf"), "none"),
    ],
)
def test_the_choice_is_the_least_time_on_the_link_if_it_is_worth_it(
    link_bytes_per_s: float, best: str
) -> None:
    assert choose(1_000_000, link_bytes_per_s, SPEEDS) == best


def test_a_vector_of_two_bytes_a_parameter_gains_nothing_from_bf16() -> None:
    free = dict.fromkeys(("none", "bf16"), 0.0)
    assert choose(1000, 1.0, free) == "bf16"
    assert choose(1000, 1.0, free, torch.bfloat16) == "none"


def test_a_model_of_one_parameter_is_sent_as_it_is() -> None:
    assert choose(1, 1.0, dict.fromkeys(("none", "int8", "int4"), 0.0)) == "none"


def test_every_codec_is_measured() -> None:
    speeds = measure(10_000, repeats=1)
    assert list(speeds) == list(CODECS)
    assert all(0.0 < speed < np.inf for speed in speeds.values())
    assert choose(10_000, 1.0, speeds) == "int4"  # a byte a second


def test_a_wrong_name_is_told_with_the_nearest_right_one() -> None:
    assert [check_compression(name) for name in ("none", "auto", "int4")] == [
        "none",
        "auto",
        "int4",
    ]
    with pytest.raises(InputError, match=r"compression must be one of none, .*got 'int9'.*'int"):
        check_compression("int9")
    with pytest.raises(InputError, match=r"got 'fp16'\. Did you mean 'bf16'\?"):
        check_compression("fp16")
    with pytest.raises(InputError, match="got None"):
        check_compression(None)

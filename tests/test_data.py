"""Splitting, batches, one-hot codes and scaling."""
from __future__ import annotations

import builtins

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.data import batches, decode, digits, one_hot, scale, split

RNG = np.random.default_rng


@given(st.integers(0, 50), st.lists(st.integers(0, 5), min_size=1, max_size=4).filter(any), st.booleans())
def test_split_gives_every_row_once(n, sizes, shuffled):
    x = np.arange(n)
    parts = split((x, x * 2), sizes, RNG(0) if shuffled else None)
    assert len(parts) == len(sizes) and all((b == 2 * a).all() for a, b in parts)
    together = np.concatenate([a for a, _ in parts])
    assert sorted(together) == list(x) and (shuffled or list(together) == list(x))
    assert all(abs(len(a) - n * size / sum(sizes)) <= 1 for (a, _), size in zip(parts, sizes, strict=True))


def test_split_by_relative_sizes():
    assert [len(x) for x, in split((np.arange(9),), (2, 1, 0))] == [6, 3, 0]
    assert [x for x, in split((["a", "bc", "d"],), (1, 2))] == [["a"], ["bc", "d"]]


@pytest.mark.parametrize("sizes", [(), (0, 0), (1, -1), (np.inf, 1), (np.nan,), ((1, 2),)])
def test_split_refuses_sizes(sizes):
    with pytest.raises(ValueError, match="relative sizes"):
        split((np.arange(3),), sizes)


@given(st.integers(0, 30), st.one_of(st.none(), st.integers(1, 40)))
def test_batches_give_every_row_once(n, size):
    made = list(batches((np.arange(n), list(range(n))), size, RNG(1)))
    assert sorted(i for x, _ in made for i in x) == list(range(n)) and all(list(x) == y for x, y in made)
    assert [len(x) for x, _ in made[:-1]] == [size or n] * (len(made) - 1)


def test_batches_are_reproducible_and_refuse_what_cannot_be():
    again = [np.concatenate([x for x, in batches((np.arange(20),), 6, RNG(3))]) for _ in range(2)]
    assert (again[0] == again[1]).all() and (again[0] != np.arange(20)).any()
    with pytest.raises(ValueError, match="batch_size=0"):
        batches((np.arange(3),), 0)
    with pytest.raises(ValueError, match="3, 4"):
        batches((np.arange(3), np.arange(4)))


@given(st.lists(st.sampled_from(["ab", "c", "d", ""]), min_size=1), st.booleans())
def test_one_hot_and_decode_are_inverse(words, given_classes):
    classes = ["d", "c", "ab", ""] if given_classes else sorted(set(words))
    codes = one_hot(words, classes if given_classes else None)
    assert codes.shape == (len(words), len(classes)) and (codes.sum(-1) == 1).all() and (decode(codes, classes) == words).all()


def test_one_hot_keeps_axes_and_names_what_is_no_class():
    assert one_hot([[3, 5], [5, 3]]).tolist() == [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    with pytest.raises(ValueError, match=r"no class .*4.* among 3, 5"):
        one_hot([3, 4], [3, 5])
    with pytest.raises(ValueError, match="among none"):
        one_hot([3], [])
    assert one_hot([]).shape == (0, 0)


def test_scale_uses_one_range_for_the_whole_array():
    assert scale([[1, 2], [3, 5]]).tolist() == [[0, 0.25], [0.5, 1]]
    assert scale(np.full((2, 3), 7)).tolist() == [[0, 0, 0]] * 2 and scale([]).shape == (0,)
    assert scale(np.float32([1, 2])).dtype == np.float32
    assert scale([3, 7], like=[1, 5]).tolist() == [0.5, 1.5]


def test_digits_say_what_they_need(monkeypatch):
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *a: real("no_such_module" if name.startswith("sklearn") else name, *a))
    with pytest.raises(ImportError, match="gradcheck\\[examples\\]"):
        digits()

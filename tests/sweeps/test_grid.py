"""Oracle: itertools.product and lists written by hand; sentences as stated."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lazyrich._base import InputError
from lazyrich.sweeps import axes_from_text, experiment_key, grid, log_spaced
from sweeps.toys import Toy


def test_a_grid_is_the_product_with_the_last_axis_fastest():
    found = grid(Toy(), {"scaling.alpha": [0.1, 1.0], "net.width": (3, 5), "seed": range(2)})
    wanted = list(itertools.product([0.1, 1.0], [3, 5], [0, 1]))
    assert [(toy.scaling.alpha, toy.net.width, toy.seed) for toy in found] == wanted


def test_axes_that_change_together_are_one_axis():
    found = grid(Toy(), {("alpha", "learning_rate"): [(1.0, 0.1), (2.0, 0.025)], "seed": [7]})
    assert [(toy.scaling.alpha, toy.learning_rate, toy.seed) for toy in found] == [
        (1.0, 0.1, 7),
        (2.0, 0.025, 7),
    ]


def test_short_and_full_names_give_the_same_experiments():
    short, full = (grid(Toy(), {name: [2.0, 3.0]}) for name in ("alpha", "scaling.alpha"))
    assert short == full


@settings(max_examples=30)
@given(first=st.floats(1e-3, 1e3), ratio=st.floats(1.1, 100), n=st.integers(2, 9))
def test_log_spaced_values_have_equal_ratios_and_both_ends(first, ratio, n):
    values = log_spaced(first, first * ratio, n)
    # Twelve digits are kept.
    assert values[0] == pytest.approx(first, rel=1e-11)
    assert values[-1] == pytest.approx(first * ratio, rel=1e-11)
    steps = [b / a for a, b in itertools.pairwise(values)]
    assert steps == pytest.approx([ratio ** (1 / (n - 1))] * (n - 1), rel=1e-10)


def test_grids_that_overlap_share_their_experiments():
    coarse, fine = log_spaced(0.1, 10, 3), log_spaced(0.1, 10, 5)
    keys = [{experiment_key(toy) for toy in grid(Toy(), {"alpha": a})} for a in (coarse, fine)]
    assert keys[0] <= keys[1]


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("alpha=0.1,1,10", [0.1, 1, 10]),
        ("seed=0:8", list(range(8))),
        ("seed=2:9:3", [2, 5, 8]),
        ("alpha=log:0.1:10:3", [0.1, 1.0, 10.0]),
        ("alpha=.5", [0.5]),
        ("n_train=null,100", [None, 100]),
        ("net.kind=mlp, committee", ["mlp", "committee"]),
        ("center=true,false", [True, False]),
        ("net.sizes=[2,3],[4]", [[2, 3], [4]]),
    ],
)
def test_axes_as_they_are_typed(text, wanted):
    name = text.partition("=")[0]
    assert axes_from_text([text]) == {name: wanted}


@pytest.mark.parametrize(
    "product, together, words",
    [
        (["alpha"], [], ["'alpha'", "NAME=VALUES"]),
        (["alpha=1,,2"], [], ["a value is empty"]),
        (["seed=5:5"], [], ["range is empty"]),
        (["alpha=log:0:1:3"], [], ["above zero"]),
        (["seed=1,2", "seed=3"], [], ["seed is given more than once"]),
        (["a", "b="], [], ["'a'", "'b='"]),
        ([], ["alpha=1,2", "seed=1"], ["alpha has 2, seed has 1"]),
    ],
)
def test_axes_that_cannot_be_read_are_all_named(product, together, words):
    with pytest.raises(InputError) as raised:
        axes_from_text(product, together)
    for word in words:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    "axes, words",
    [
        ({"alfa": [1.0]}, ["alfa is not a field", "did you mean scaling.alpha?"]),
        ({"scaling.alpa": [1.0]}, ["scaling.alpa is not a field", "did you mean scaling.alpha?"]),
        ({"alpha": []}, ["alpha has no values"]),
        ({"alpha": [1, 2, 1.0]}, ["alpha holds 1.0 more than once"]),
        ({"alpha": [1.0], "scaling.alpha": [2.0]}, ["scaling.alpha is named by 2 axes"]),
        ({("alpha", "seed"): [(1.0, 1), (2.0,)]}, ["names 2 fields"]),
        (
            {"alpha": ["big", 1.0, float("nan")], "n_steps": [10, 2.5], "seed": [0, 1]},
            ["10 of 12", "alpha is 'big'", "alpha is nan", "n_steps is 2.5", "none was run"],
        ),
    ],
)
def test_everything_that_is_wrong_is_said_at_once(axes, words):
    with pytest.raises(InputError) as raised:
        grid(Toy(), axes)
    for word in words:
        assert word in str(raised.value)

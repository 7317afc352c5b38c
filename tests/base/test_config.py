"""Oracle: every whole-number field of every experiment, found by walking through their classes."""

import time
import typing

import numpy as np
import pytest

from lazyrich import InputError
from lazyrich._base import Config
from lazyrich.models import NETS, CommitteeNet
from lazyrich.tasks import TASKS, PolynomialTask
from lazyrich.training import (
    METRICS,
    Adam,
    AdamW,
    CommitteeExperiment,
    Experiment,
    GradientDescent,
    Scaling,
    preset,
)


class Walk(Config):
    n_steps: int = 10
    length: float = 1.0
    is_long: bool = False
    sizes: tuple[int, ...] = ()


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"n_steps": True}, "n_steps is True, wanted a number"),
        ({"n_steps": "1"}, "n_steps is '1', wanted a number"),
        ({"length": "0.5"}, r"length is '0\.5', wanted a number"),
        ({"length": False}, "length is False, wanted a number"),
        ({"length": np.bool_(True)}, "wanted a number"),
        ({"is_long": 1}, "is_long is 1, wanted true or false"),
        ({"is_long": "yes"}, "is_long is 'yes', wanted true or false"),
        ({"sizes": [1, True]}, r"sizes\.1 is True, wanted a number"),
        ({"sizes": [1, "2"]}, r"sizes\.1 is '2', wanted a number"),
        ({"n_steps": 10**40}, "n_steps is a whole number of 41 digits"),
        ({"sizes": [-(10**40)]}, r"sizes\.0 is a whole number of 41 digits"),
        ({"n_steps": 10**6000}, "n_steps is a whole number of 6001 digits"),
    ],
)
def test_nothing_is_guessed(fields, words):
    with pytest.raises(InputError, match=words):
        Walk(**fields)
    with pytest.raises(InputError, match=words):
        Walk().changed(fields)


def test_numbers_of_numpy_and_whole_floats_are_numbers():
    made = Walk(n_steps=np.int64(3), length=np.float32(0.5), is_long=np.bool_(True), sizes=[4.0])
    assert made == Walk(n_steps=3, length=0.5, is_long=True, sizes=(4,))


@pytest.mark.parametrize(
    "text, words",
    [
        ('{"n_steps": 1, "n_steps": 2}', "the key 'n_steps' stands twice"),
        ('{"length": NaN}', "NaN is not a number"),
        ('{"length": 1e999}', "beyond the largest number"),
        ('{"sizes": ' + "[" * 1000 + "]" * 1000 + "}", "nested deeper"),
        ('{"n_steps": "1"}', "wanted a number"),
        ("[1]", "not an object"),
        ("{", "the text is not JSON"),
        ('{"n_steps": "' + "x" * 10**6 + '"}', "n_steps is 'xxx"),
    ],
)
def test_files_of_settings_are_read_by_the_same_rules(text, words):
    with pytest.raises(InputError, match=words) as raised:
        Walk.from_json(text)
    assert len(str(raised.value)) < 400


def test_many_faults_are_counted_and_not_listed():
    begin = time.process_time()
    with pytest.raises(InputError) as caught:
        Walk(**{f"k{k}": 1 for k in range(20_000)})
    said = str(caught.value)
    assert len(said) < 2000
    assert said.endswith("; and 19990 more.")
    assert said.count(" is not one of its fields") == 10
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("names", [("alpha", "scaling.alpha"), ("n_saves", "n_evals")])
def test_two_names_of_one_field_are_both_named(names):
    with pytest.raises(InputError, match=" and ".join(names)):
        preset("parity").changed(dict.fromkeys(names, 2))


@pytest.mark.parametrize("name", ["probes", "metrics"])
def test_a_setting_of_the_other_kind_of_experiment_suggests_no_other_name(name):
    with pytest.raises(InputError, match=f"{name} is not a field .a committee machine records"):
        preset("committee").changed({name: []})


def test_a_former_name_of_the_other_kind_of_experiment_is_read():
    assert preset("parity").changed({"has_twin": True}).linearized
    with pytest.raises(InputError, match="has_twin is now called linearized"):
        Experiment(**preset("parity").model_dump() | {"has_twin": True})


@pytest.mark.parametrize("kind", ["parity", "committee"])
@pytest.mark.parametrize("number", [1e99, -1e99, "9" * 5000])
def test_a_number_beyond_all_bounds_gets_the_bound(kind, number):
    with pytest.raises(InputError, match="wanted a whole number of at most 4294967295"):
        preset(kind).changed({"n_steps": number})


CLASSES = [*TASKS.values(), *NETS.values(), *METRICS.values(), GradientDescent, Adam, AdamW]
EXAMPLES = [
    CommitteeExperiment(dim=5, width=20, n_train=30, n_steps=10),
    *(preset(name) for name in ("polynomial", "modular", "teacher", "transformer")),
]


def _takes_whole_numbers(annotation):
    if annotation is int:
        return True
    return any(map(_takes_whole_numbers, typing.get_args(annotation)))


def _whole_fields(cls):
    return [
        name for name, field in cls.model_fields.items() if _takes_whole_numbers(field.annotation)
    ]


@pytest.mark.parametrize(
    "cls, name",
    [(cls, name) for cls in [*CLASSES, CommitteeExperiment] for name in _whole_fields(cls)],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
@pytest.mark.parametrize("value", [10**40, -(10**40), 2**70])
def test_every_whole_number_has_a_bound(cls, name, value):
    is_list = typing.get_origin(cls.model_fields[name].annotation) is tuple
    given = [value] if is_list else value
    sizes = {"n_train": 5, "n_test": 5, "dim": 5, "modulus": 5, "degree": 2, "n_relevant": 2}
    needed = {n: sizes.get(n, 1) for n, field in cls.model_fields.items() if field.is_required()}
    with pytest.raises(InputError, match=name):
        cls(**(needed | {name: given}))


@pytest.mark.parametrize("name", [n for n in _whole_fields(Experiment) if n != "metrics"])
def test_so_has_every_one_of_an_experiment(name):
    value = (10**40,) if name == "eval_steps" else 10**40
    with pytest.raises(InputError, match=name):
        EXAMPLES[-1].changed({name: value})


@pytest.mark.parametrize("one", EXAMPLES, ids=lambda one: type(one).__name__)
def test_steps_stay_within_the_counters_of_a_run(one):
    with pytest.raises(InputError, match="n_steps is 2147483648"):
        one.changed({"n_steps": 2**31})


def test_one_label_scale_whatever_it_is_called():
    task = PolynomialTask(dim=5, n_train=20, n_test=10)
    base = Experiment(
        task=task,
        net=CommitteeNet(width=8),
        optimizer=GradientDescent(learning_rate=1.0),
        n_steps=10,
    )
    wanted = base.model_copy(update={"scaling": Scaling(label_scale=2.0)})
    for name in ("label_scale", "scaling.label_scale", "task.label_scale"):
        assert base.changed({name: 2.0}) == wanted
    old = wanted.model_dump(mode="json")
    old["task"]["label_scale"], old["scaling"]["label_scale"] = 0.5, 4.0
    assert Experiment(**old) == wanted

"""Oracle: keys of experiments as they were before fields were added, written down then."""

from typing import Annotated

from lazyrich._base import AddedLater, Config, settings
from lazyrich.paper.figures import FIGURES
from lazyrich.sweeps import experiment_key

# The first run of a panel of quick. Those of fig3 and fig14 are flows, whose numbers changed
# with the stages that a step may have, and their keys with them; that of fig5 with its labels.
KEYS = {
    ("fig3", "map"): "3956495bd6913bd43e9852b18c75e82188050bc23c96196e4c57f948d1b01d47",
    ("fig4", "runs"): "6fa40570fb8a431c391a94aeb47ee0ddcd8d9f9a33edf53ece8212d64076e352",
    ("fig5", "runs"): "a007e3296256b5e904f90784e8a21a94ef9104fd8fd9d97690e1d505cf4de1cf",
    ("fig8", "sweep"): "8dd2b92868af925b6df834ee8930e6da1493f1e3b3d3496a755955bae50fc31e",
    ("fig11", "runs"): "53e1d79c2ba235b3b440dccf0f01f2f2e78c86c0569eff92560903eebc8b5e9d",
    ("fig13", "student"): "bfbfc4cada86cdeb04d90e7a8dbd1138a2534b42cd3176d955bc19dcc1cc6ce9",
    ("fig14", "runs"): "b6432972c26538aa4bdce9c5cda01e740d881bb9ffac872bed4b1ae90c03c4fb",
    ("fig6", "rate fixed"): "8a4500fe38018bc0a577f184fa5bd77be6b7aebebc4d63104a833cee1a69b93e",
}


# What the run of a figure had then and has no more.
THEN = {
    "fig6": {
        "n_steps": 6000,
        "stop.solved_accuracy": 0.96,
        "stop.solved_train_accuracy": None,
    }
}


def test_keys_of_settings_that_did_not_change_are_what_they_were():
    for (figure, panel), key in KEYS.items():
        one = FIGURES[figure].panels("quick", [0])[panel].experiments[0]
        assert experiment_key(one.changed(THEN.get(figure, {}))) == key, figure


class Wind(Config):
    force: float = 1.0
    gusts: Annotated[int | None, AddedLater()] = None


class Walk(Config):
    wind: Wind = Wind()
    winds: tuple[Wind, ...] = ()
    dog: Annotated[Wind | None, AddedLater()] = None


def test_what_was_added_is_left_out_at_its_default_at_every_depth():
    assert settings(Walk(winds=(Wind(), Wind(gusts=0)))) == {
        "wind": {"force": 1.0},
        "winds": [{"force": 1.0}, {"force": 1.0, "gusts": 0}],
    }
    assert settings(Walk(dog=Wind()))["dog"] == {"force": 1.0}
    assert Walk.from_json('{"wind":{"force":1.0}}') == Walk()
    assert Walk().changed({"gusts": 2}).wind.gusts == 2

"""Oracle: the same diagnosis from Python; exit codes and sentences as stated."""

import json

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import small_nets as nets

import lazyrich as lz
from lazyrich import cli

X, Y = nets.rows(n=12)
PARAMS0 = nets.initial(6)
PARAMS = nets.trained(PARAMS0, X, Y, n_steps=100)

FILE = """
import jax.numpy as jnp
import numpy as np

def predict(params, x):
    return jnp.tanh(x @ params["first"]["w"] + params["first"]["b"]) @ params["last"]["w"]

def build():
    return predict, {
        "first": {"w": np.zeros((3, 6)), "b": np.zeros(6)},
        "last": {"w": np.zeros((6, 1))},
    }

def broken():
    raise RuntimeError("no weights here")

def nothing():
    return 3

def leaves():
    raise SystemExit(0)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(FILE)
    eqx.tree_serialise_leaves("before.eqx", PARAMS0)
    eqx.tree_serialise_leaves("after.eqx", PARAMS)
    eqx.tree_serialise_leaves("other.eqx", nets.initial(7))
    np.savez("probe.npz", x=X, y=Y)
    np.savez("unlabelled.npz", y=Y)
    np.savez("one.npz", x=X[:1], y=Y[:1])
    np.savez("strange.npz", x=X, z=Y)
    np.savez("classes.npz", x=X, y=np.arange(12))
    np.savez("objects.npz", x=np.array([{}], dtype=object))
    (tmp_path / "text.npz").write_text("hello")
    return tmp_path


GIVEN = ["--before", "before.eqx", "--after", "after.eqx", "--data", "probe.npz"]


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["diagnose", *arguments])
    return ended.value.code


def test_it_says_what_python_says(folder, capsys):
    assert run("model.py:build", *GIVEN, "--json", "--html", "page.html") == 0
    said = json.loads(capsys.readouterr().out)

    def predict(params, x):
        return jnp.tanh(x @ params["first"]["w"] + params["first"]["b"]) @ params["last"]["w"]

    found = lz.diagnose(predict, PARAMS0, PARAMS, X, Y)
    assert said == json.loads(found.to_json())
    assert (folder / "page.html").read_text().startswith("<!DOCTYPE html>")
    assert run("model.py", *GIVEN, "--html", "page.html") == 0
    said = capsys.readouterr().out
    assert said.startswith(str(found)[:40])
    assert "page.html" in said


def test_one_checkpoint_tells_what_it_can(folder, capsys):
    assert run("model.py", "--after", "after.eqx", "--data", "probe.npz", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["regime"] == "undecided"
    assert "one checkpoint only" in said["reason"]
    assert "train_error" in said["readings"]
    assert "linearization_gap" not in said["readings"]


BAD = {
    "no such file": (["none.py:build", *GIVEN], "none.py cannot be read"),
    "a folder": ([".:build", *GIVEN], "cannot be read"),
    "no such function": (["model.py:make", *GIVEN], "no function 'make'"),
    "a function that fails": (["model.py:broken", *GIVEN], "no weights here"),
    "a function that ends the program": (["model.py:leaves", *GIVEN], "SystemExit"),
    "a function that returns no network": (["model.py:nothing", *GIVEN], "returned an int"),
    "no rows at all": (["model.py", "--before", "before.eqx"], "--data is missing"),
    "conditions without a store": (["model.py", *GIVEN, "--where", "alpha=1"], "runs of a store"),
    "a missing checkpoint": (["model.py", *GIVEN, "--before", "x.eqx"], "x.eqx cannot be read"),
    "a checkpoint of another network": (
        ["model.py", *GIVEN, "--before", "other.eqx"],
        "does not fit the network",
    ),
    "a checkpoint that is none": (["model.py", *GIVEN, "--after", "text.npz"], "does not fit"),
    "no data": (["model.py", *GIVEN, "--data", "none.npz"], "none.npz cannot be read"),
    "data that is text": (["model.py", *GIVEN, "--data", "text.npz"], "not a file of arrays"),
    "data of objects": (["model.py", *GIVEN, "--data", "objects.npz"], "not a file of arrays"),
    "no rows": (["model.py", *GIVEN, "--data", "unlabelled.npz"], "no array x"),
    "an unknown array": (["model.py", *GIVEN, "--data", "strange.npz"], "array 'z'"),
    "one row": (["model.py", *GIVEN, "--data", "one.npz"], "1 row"),
    "labels of another loss": (
        ["model.py", *GIVEN, "--data", "classes.npz", "--loss", "cross_entropy"],
        "one output",
    ),
    "a page that is somebody's": (["model.py", *GIVEN, "--html", "model.py"], "another file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_sentence_and_exit_code_two(case, folder, capsys):
    arguments, message = BAD[case]
    flags = {}
    for flag, value in zip(arguments[1::2], arguments[2::2], strict=True):
        flags[flag] = value
    assert run(arguments[0], *[part for pair in flags.items() for part in pair]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert (folder / "model.py").read_text() == FILE


@pytest.fixture
def with_torch(folder):
    """The same folder with a module of PyTorch, and checkpoints good and bad."""
    torch = pytest.importorskip("torch")
    (folder / "net.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Linear(3, 2).double()\n"
    )
    model = torch.nn.Linear(3, 2).double()
    states = {"a": 0.5, "b": 1.0, "nan": np.nan}
    for name, value in states.items():
        torch.nn.init.constant_(model.weight, value)
        torch.save(model.state_dict(), f"{name}.pt")
    torch.save(torch.nn.Linear(4, 2).state_dict(), "wide.pt")
    torch.save(model, "code.pt")
    np.savez("two.npz", x=X, y=np.arange(12) % 2)
    np.savez("same.npz", x=np.repeat(X[:1], 12, 0), y=np.arange(12) % 2)
    np.savez("six.npz", x=X, y=np.arange(12) % 6)
    return folder


TORCH = ["--before", "a.pt", "--after", "b.pt", "--data", "two.npz"]
BAD_TORCH = {
    "a checkpoint of another width": (["--before", "wide.pt"], "has shape"),
    "a checkpoint of JAX": (["--before", "before.eqx"], "not a checkpoint"),
    "a checkpoint with code": (["--after", "code.pt"], "running code"),
    "a diverged model": (["--after", "nan.pt"], "diverged"),
    "a diverged start": (["--before", "nan.pt"], "diverged"),
    "one row": (["--data", "one.npz"], "1 row"),
    "one row, repeated": (["--data", "same.npz"], "of which 1 differ"),
    "classes that there are none of": (["--data", "six.npz"], "classes from 0 to 5"),
    "labels of another loss": (["--loss", "mse"], "holds classes and loss is 'mse'"),
}


@pytest.mark.parametrize("case", BAD_TORCH)
def test_bad_input_of_pytorch_is_a_sentence_and_exit_code_two(case, with_torch, capsys):
    (flag, value), message = BAD_TORCH[case]
    given = {**dict(zip(TORCH[::2], TORCH[1::2], strict=True)), flag: value}
    assert run("net.py:build", *[part for pair in given.items() for part in pair]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


def test_what_pytorch_cannot_judge_is_undecided(with_torch, capsys):
    for given, reason in (
        (["--before", "a.pt", "--after", "a.pt"], "identical"),
        (["--after", "b.pt"], "one checkpoint only"),
    ):
        assert run("net.py:build", *given, "--data", "two.npz", "--json") == 0
        said = json.loads(capsys.readouterr().out)
        assert said["regime"] == "undecided"
        assert reason in said["reason"]


def test_a_module_of_pytorch_goes_the_same_way(folder, capsys):
    torch = pytest.importorskip("torch")
    (folder / "net.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Linear(3, 1).double()\n"
    )
    model = torch.nn.Linear(3, 1).double()
    torch.save(model.state_dict(), "a.pt")
    torch.nn.init.ones_(model.weight)
    torch.save(model.state_dict(), "b.pt")
    given = ["--before", "a.pt", "--after", "b.pt", "--data", "probe.npz"]
    assert run("net.py:build", *given) == 0
    assert "linearization gap" in capsys.readouterr().out
    assert run("net.py:build", *given, "--before=model.py") == 2


RUDE = """
import os
import sys

class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no")

class Own(BaseException):
    pass

class Flax:
    def apply(self, variables, x):
        return x @ variables["params"]

def prints():
    print("said by Python")
    os.write(1, b"said below Python\\n")
    os.system("echo said by a program")
    model = original()
    def predict(params, x):
        print("said while tracing")
        return model[0](params, x)
    return predict, model[1]

def moves():
    os.chdir("/")
    return original()

def closes():
    sys.stdout.close()
    return original()

def breaks():
    raise KeyboardInterrupt

def ends():
    raise Own("the end")

def is_unspeakable():
    raise Unspeakable

def talks():
    raise ValueError("x" * 100_000)

def no_params():
    return Flax(), 5

def leaves_later():
    def predict(params, x):
        sys.exit(7)
    return predict, original()[1]
"""


@pytest.fixture
def rude(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "rude.py").write_text(FILE.replace("def build", "def original") + RUDE)
    (folder / "sub" / "model.py").write_text(FILE)
    return folder


@pytest.mark.parametrize("function", ["prints", "moves", "closes"])
def test_what_the_users_code_does_to_the_process_does_not_reach_the_answer(rude, capfd, function):
    assert run("model.py", *GIVEN, "--json") == 0
    wanted = capfd.readouterr().out
    assert run(f"sub/rude.py:{function}", *GIVEN, "--json", "--html", "page.html") == 0
    found = capfd.readouterr()
    assert json.loads(found.out) == json.loads(wanted)
    assert (rude / "page.html").is_file()
    said = ("by Python", "below Python", "by a program", "while tracing")
    assert all((f"said {how}" in found.err) == (function == "prints") for how in said)


LEAVES = {
    "breaks": "KeyboardInterrupt",
    "ends": "Own: the end",
    "is_unspeakable": "Unspeakable",
    "talks": "xxx",
    "no_params": "no floating array",
    "leaves_later": "SystemExit: 7",
}


@pytest.mark.parametrize("function", LEAVES)
def test_however_the_users_code_ends_it_is_one_short_sentence(rude, capfd, function):
    assert run(f"sub/rude.py:{function}", "--data", "probe.npz") == 2
    said = capfd.readouterr().err
    assert LEAVES[function] in said
    assert said.count("\n") == 1
    assert len(said) < 5000


def test_the_default_function_of_a_file_in_another_folder(rude, capsys):
    assert run("sub/model.py", *GIVEN) == 0
    capsys.readouterr()
    for nothing in (["sub/none.py", *GIVEN], ["nothing"]):
        assert run(*nothing) == 2
        assert "neither the folder of a store nor a file" in capsys.readouterr().err
    assert run("", *GIVEN) == 2
    assert "lazyrich: '' cannot be read" in capsys.readouterr().err

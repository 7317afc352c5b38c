"""Oracle: the list of what ran, written by the toys; a second call must add what is stated."""

import threading

import pytest

import lazyrich.training._memory as memory
from lazyrich import InputError
from lazyrich.models import CommitteeNet
from lazyrich.sweeps import Submission, fill, find, grid, sweep
from lazyrich.sweeps._executors import _within, chosen_executor
from lazyrich.tasks import PolynomialTask
from lazyrich.training import CommitteeExperiment, Experiment, GradientDescent, train_committee
from sweeps.toys import Toy, toy_history

EXACT = CommitteeExperiment(dim=5, width=8, n_train=20, n_steps=4, n_test=20, n_evals=3)
STEPPED = Experiment(
    task=PolynomialTask(dim=5, n_train=20, n_test=20),
    net=CommitteeNet(width=8, epsilon=0.3),
    optimizer=GradientDescent(learning_rate=1.0),
    n_steps=4,
    n_evals=3,
)


def test_both_kinds_are_swept_by_default_and_found_by_one_name(tmp_path):
    mixed = grid(EXACT, {"seed": [0, 1]}) + grid(STEPPED, {"alpha": [1.0, 2.0]})
    found = fill(mixed, store=tmp_path / "s", progress=False)
    assert [one.status for one in found] == ["ok"] * 4
    assert len(find(tmp_path / "s", ["alpha=1.0"])) == 3
    assert len(find(tmp_path / "s")) == 4
    dataset = sweep(mixed, store=tmp_path / "s", progress=False)
    assert int((dataset.status == "ok").sum()) == 4


def test_a_wrong_runner_is_not_remembered(tmp_path):
    def broken(given):
        raise AttributeError("it has no attribute net")

    for run in (broken, train_committee):
        found = fill([STEPPED], store=tmp_path / "s", progress=False, run=run)
        assert found[0].status == "failed"
    assert fill([STEPPED], store=tmp_path / "s", progress=False)[0].status == "ok"


@pytest.mark.parametrize(
    "error, is_tried_again",
    [
        (ImportError("no module"), True),
        (FileNotFoundError("no file"), True),
        (ConnectionError("no disk"), True),
        (MemoryError("no memory"), True),
        (InputError("There are no images; fetch them."), True),
        (ZeroDivisionError("1/0"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_was_missing_is_tried_again_and_what_is_wrong_is_not(tmp_path, error, is_tried_again):
    calls = []

    def run(given):
        calls.append(len(given))
        if len(calls) == 1:
            raise error
        return [toy_history(one) for one in given]

    for wanted in ("failed", "ok" if is_tried_again else "failed"):
        found = fill([Toy()], store=tmp_path / "s", progress=False, run=run)
        assert found[0].status == wanted
    if not is_tried_again:
        again = Submission(retry_failed=True)
        found = fill([Toy()], store=tmp_path / "s", progress=False, run=run, submission=again)
        assert found[0].status == "ok"


@pytest.mark.parametrize(
    "executor", ["processes:٣", "processes:99999999999999", "processes:0", "dask:", "proceses:2", 3]
)
def test_a_wrong_executor_is_refused_with_nothing_left_to_compute(tmp_path, executor, capsys):
    fill([EXACT], store=tmp_path / "s", progress=False)
    with pytest.raises(InputError):
        fill([EXACT], store=tmp_path / "s", executor=executor)
    assert capsys.readouterr().err == ""


def test_no_line_of_progress_comes_before_a_refusal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1000)
    with pytest.raises(InputError, match="needs about"):
        sweep([EXACT, STEPPED], store=tmp_path / "s")
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("given", [EXACT, "polynomial", 3])
def test_what_is_no_list_of_experiments_gets_a_sentence(tmp_path, given, unchecked):
    with pytest.raises(InputError, match="give a list"):
        sweep(given, store=tmp_path / "s")
    with pytest.raises(InputError, match=r"give an experiment|give a mapping"):
        grid(given, ["alpha"])


def test_an_answer_that_never_comes_is_not_waited_for():
    with pytest.raises(TimeoutError, match="said nothing"):
        _within(0.05, lambda: threading.Event().wait(0.5))
    assert _within(5, lambda: 7) == 7
    with pytest.raises(OSError, match="mine"):
        _within(5, lambda: (_ for _ in ()).throw(OSError("mine")))


def test_forked_processes_are_warned_of():
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    forked = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
    with forked, pytest.warns(RuntimeWarning, match="fork after JAX was used can"):
        chosen_executor(forked)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        chosen_executor(pool)

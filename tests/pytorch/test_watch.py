"""Oracle: law, a run that is watched is bit for bit the run that is not."""

import copy
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import lazyrich.torch as lzt  # noqa: E402

X, Y = torch.randn(16, 4, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 3)
    )


def plain(model, optimizer, n_steps=12):
    losses = []
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X), Y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accumulated(model, optimizer):
    losses = []
    for step in range(24):
        loss = nn.functional.cross_entropy(model(X[step % 2 :: 2]), Y[step % 2 :: 2])
        (loss / 2).backward()
        losses.append(loss.item())
        if step % 2:
            optimizer.step()
            optimizer.zero_grad()
    return losses


def half_precision(model, optimizer):
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = nn.functional.cross_entropy(model(X), Y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def scaled(model, optimizer):
    """Steps 3 to 5 overflow, and the scaler skips them."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    losses = []
    for step in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X), Y)
        scaler.scale(loss * (math.inf if step in (3, 4, 5) else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses


LOOPS = {"plain": plain, "accumulated": accumulated, "bf16": half_precision, "scaled": scaled}


def run(loop, make_optimizer, *, is_watched):
    model = network()
    optimizer = make_optimizer(model.parameters())
    torch.manual_seed(2)
    if is_watched:
        with lzt.watch(model, optimizer, (X, Y), share=1.0, say=None) as monitor:
            losses = loop(model, optimizer)
    else:
        losses, monitor = loop(model, optimizer), None
    return model, losses, torch.random.get_rng_state(), monitor


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_of_a_run_changes(loop):
    def make(parameters):
        return torch.optim.AdamW(parameters, 1e-2)

    alone = run(LOOPS[loop], make, is_watched=False)
    watched = run(LOOPS[loop], make, is_watched=True)
    assert alone[1] == watched[1]
    assert torch.equal(alone[2], watched[2])
    for name, value in alone[0].state_dict().items():
        assert torch.equal(value, watched[0].state_dict()[name]), name
    assert all(m.training for m in watched[0].modules())
    # Twelve optimizer steps in each of the loops, whatever happened in between.
    monitor = watched[3]
    assert monitor.step == 12
    assert [one["step"] for one in monitor.records] == [1, 2, 5, 10]
    assert all(0 <= one["kernel_cosine"] <= 1 for one in monitor.records)


@pytest.mark.slow
def test_nothing_of_a_compiled_run_changes():
    results = []
    for is_watched in (False, True):
        model = network()
        compiled = torch.compile(model, backend="aot_eager")
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        torch.manual_seed(2)
        if is_watched:
            with lzt.watch(compiled, optimizer, (X, Y), share=1.0, say=None) as monitor:
                losses = plain(compiled, optimizer)
            assert len(monitor.records) == 4
        else:
            losses = plain(compiled, optimizer)
        results.append((losses, copy.deepcopy(model.state_dict())))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(v, results[1][1][k]) for k, v in results[0][1].items())


def linear_case():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    return model, torch.optim.SGD(model.parameters(), 0.5)


def test_records_and_diagnosis_are_those_of_two_checkpoints():
    model, optimizer = linear_case()
    start = copy.deepcopy(model.state_dict())
    logged = []
    watch = lzt.watch(
        model, optimizer, (X, Y), share=1.0, say=None, log=lambda m, step: logged.append((step, m))
    )
    with watch as monitor:
        plain(model, optimizer, 10)
    found = lzt.diagnose(model, before=start, x=X, y=Y, optimizer=optimizer)
    mine = monitor.diagnosis()
    assert mine.regime == found.regime
    assert {k: v.value for k, v in mine.readings.items()} == pytest.approx(
        {k: v.value for k, v in found.readings.items()}, nan_ok=True
    )
    last = monitor.records[-1]
    assert last["linearization_gap"] == found.readings["linearization_gap"].value
    assert last["kernel_cosine_low"] <= found.readings["kernel_cosine"].value
    assert [step for step, _ in logged] == [1, 2, 5, 10]
    assert logged[-1][1]["lazyrich/kernel_cosine"] == last["kernel_cosine"]
    assert mine.readings["rate_times_decay"].value == 0


def test_a_saved_watch_goes_on_as_if_nothing_had_been(tmp_path):
    model, optimizer = linear_case()
    with lzt.watch(model, optimizer, (X, Y), share=1.0, say=None) as whole:
        plain(model, optimizer, 20)
    model, optimizer = linear_case()
    with lzt.watch(model, optimizer, (X, Y), share=1.0, say=None) as first:
        plain(model, optimizer, 7)
    torch.save(first.state_dict(), tmp_path / "watch.pt")
    second = lzt.watch(model, optimizer, (X, Y), share=1.0, say=None)
    second.load_state_dict(torch.load(tmp_path / "watch.pt", weights_only=True))
    with second:
        plain(model, optimizer, 13)
    assert second.records == whole.records
    assert second.diagnosis().regime == whole.diagnosis().regime
    other = lzt.watch(nn.Linear(4, 3), optimizer, (X, Y), say=None)
    with pytest.raises(lzt.InputError, match="another model"):
        other.load_state_dict(first.state_dict())
    with pytest.raises(lzt.InputError, match="not a state"):
        other.load_state_dict({"step": 1})


def test_the_reference_may_be_a_later_step():
    model, optimizer = linear_case()
    with lzt.watch(model, optimizer, (X, Y), share=1.0, since=5, say=None) as monitor:
        with pytest.raises(lzt.InputError, match="step 5"):
            monitor.diagnosis()
        plain(model, optimizer, 5)
        at_five = copy.deepcopy(model.state_dict())
        plain(model, optimizer, 5)
    found = lzt.diagnose(model, before=at_five, x=X, y=Y)
    # As text, since an interval that is not known is NaN.
    told = monitor.diagnosis().readings["parameter_change"]
    assert repr(told) == repr(found.readings["parameter_change"])


def test_a_run_that_diverges_is_not_ended_by_its_watch():
    model, _ = linear_case()
    optimizer = torch.optim.SGD(model.parameters(), math.inf)
    with lzt.watch(model, optimizer, (X, Y), share=1.0, say=None) as monitor:
        plain(model, optimizer, 3)
    assert math.isnan(monitor.records[-1]["kernel_cosine"])


def test_it_says_what_it_spent_and_stops_listening():
    model, optimizer = linear_case()
    said = []
    with lzt.watch(model, optimizer, (X, Y), share=1e-9, say=said.append) as monitor:
        plain(model, optimizer, 3)
    assert monitor.records == []
    assert monitor.spent > 0
    [line] = said
    assert line.startswith("lazyrich: 0 measurements took")
    plain(model, optimizer, 2)
    assert monitor.step == 3


def test_what_cannot_be_watched_is_one_sentence(unchecked):
    model, optimizer = linear_case()
    cases = [
        (lambda: lzt.watch(model, None, (X, Y)), "optimizer is None"),
        (lambda: lzt.watch(model, optimizer, X), r"pair \(x, y\)"),
        (lambda: lzt.watch(model, optimizer, (X, Y), share=0), "share"),
        (lambda: lzt.watch(model, optimizer, (X, Y), since=-1), "since"),
        (lambda: lzt.watch(model, optimizer, (X[:1], Y[:1])), "1 row"),
        (lambda: lzt.watch(model, optimizer, (X, np.zeros(16))), "wanted classes"),
    ]
    for act, message in cases:
        with pytest.raises(lzt.InputError, match=message):
            act()


def test_the_optimizer_of_another_model_is_refused():
    _, optimizer = linear_case()
    watch = lzt.watch(nn.Linear(4, 3), optimizer, (X, Y), say=None)
    with pytest.raises(lzt.InputError, match="trains no parameter of the model"), watch:
        pass

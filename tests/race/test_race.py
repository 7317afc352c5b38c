"""Oracle: the rules of a race, checked on curves made by hand and on a race of seconds."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lazyrich.race
from lazyrich._base import InputError, Status
from lazyrich.cli import main
from lazyrich.race import (
    Edition,
    Results,
    Target,
    best_of_studies,
    default_edition,
    fresh_trials,
    race,
    read_edition,
    smoke_edition,
    sobol_points,
    summarize,
    table,
    tuning_trials,
)
from lazyrich.race._rows import target_time
from lazyrich.race._trial import is_validation
from lazyrich.tasks import ModularTask
from lazyrich.training import require_memory, train

TASK = "addition_mlp"


def tree():
    """The settings of the smoke race, to be changed."""
    return json.loads(smoke_edition().model_dump_json())


def trial(**changes):
    found = smoke_edition().trial(TASK, "adamw", {"optimizer.learning_rate": 0.01}, seed=3)
    return found.changed(changes) if changes else found


def leave(arguments):
    """The exit code of a command."""
    try:
        main(arguments)
    except SystemExit as end:
        return end.code
    return 0


def test_every_arm_has_the_same_budget_and_at_most_two_knobs_of_its_own():
    edition = default_edition()
    for arm, method in edition.arm.items():
        task = "parity" if edition.fits("parity", arm) else "addition_mlp"
        about = edition.task[task]
        trials = tuning_trials(edition, task, arm)
        assert len(trials) == (15 if method.tuned else 0)
        assert len(method.space) <= 2
        assert tuning_trials(edition, "division", arm) == []
        for one in trials[::5]:
            optimizer = one.trial.experiment.optimizer
            assert 1e-4 <= optimizer.learning_rate <= 1e-1
            assert optimizer.weight_decay == 0 or 1e-3 <= optimizer.weight_decay <= 10
            assert optimizer.batch_size in (None, about.batch_size)
            assert one.trial.max_steps == about.max_steps


def test_fresh_seeds_are_shared_between_arms_and_with_no_search():
    edition = default_edition()
    rows: list[dict[str, Any]] = [
        {"phase": "tuning", "study": k, "index": 0, "time": 5, "settings": {"seed": k}}
        for k in range(3)
    ]
    for row in rows:
        row["settings"] = {"optimizer.learning_rate": 0.1, "optimizer.weight_decay": 0.1}
    of_arms = {arm: fresh_trials(edition, "parity", arm, rows) for arm in ("adamw", "muon")}
    seeds = {
        arm: {one.trial.experiment.seed for one in planned} for arm, planned in of_arms.items()
    }
    assert seeds["adamw"] == seeds["muon"]
    assert len(seeds["adamw"]) == 10
    searched = {p.trial.experiment.seed for p in tuning_trials(edition, "parity", "adamw")}
    assert not searched & seeds["adamw"]


def test_a_held_out_task_takes_the_settings_of_another_and_its_own_batch():
    edition = default_edition()
    assert tuning_trials(edition, "composition", "muon") == []
    settings = {
        "optimizer.batch_size": 256,
        "optimizer.learning_rate": 0.02,
        "optimizer.weight_decay": 0.1,
    }
    rows: list[dict[str, Any]] = [
        {"phase": "tuning", "study": k, "index": 0, "time": 5, "settings": settings}
        for k in range(3)
    ]
    planned = fresh_trials(edition, "composition", "muon", rows)
    optimizer = planned[0].trial.experiment.optimizer
    assert (optimizer.learning_rate, optimizer.batch_size) == (0.02, 512)
    with pytest.raises(InputError, match="race --task addition --arm muon` first"):
        fresh_trials(edition, "composition", "muon", [])


def test_points_of_a_space_are_spread_over_it_and_the_same_each_time():
    space = default_edition().space
    points = sobol_points(space, 64, seed=3)
    assert points == sobol_points(space, 64, seed=3) != sobol_points(space, 64, seed=4)
    rates = np.log10([point["optimizer.learning_rate"] for point in points])
    decays = np.array([point["optimizer.weight_decay"] for point in points])
    assert np.histogram(rates, 4, (-4, -1))[0].tolist() == [16] * 4
    assert abs((decays == 0).mean() - 0.2) < 0.02
    assert sobol_points({}, 2, seed=0) == [{}, {}]


def test_the_best_of_a_study_is_the_fastest_else_the_one_with_the_best_validation():
    def row(study, index, time, loss):
        at_end = {"validation_loss": loss}
        where = {"phase": "tuning", "study": study, "index": index}
        return where | {"time": time, "at_end": at_end, "settings": {"n": index}}

    rows = [row(0, 0, 90, 0.1), row(0, 1, 40, 0.9), row(0, 2, None, 0.0)]
    rows += [row(1, 0, None, 0.3), row(1, 1, None, 0.2)]
    assert best_of_studies(rows) == {0: {"n": 1}, 1: {"n": 1}}


def test_the_target_must_be_held_and_must_come_before_the_limit():
    one = trial()  # T_max 40, hold 20
    steps = np.arange(0, 61, 10)

    def found(*held):
        return target_time(one, steps, {"held_steps": np.array(held)})

    assert found(-1, -1, 0, 10, 20) is not None
    assert found(-1, 0, -1, -1, 0, 10, 20) == 40
    assert found(-1, 0, 10, -1, -1, 0, 10) is None
    assert found(-1, 0, 10, 20) == 10


def test_validation_and_test_rows_divide_the_test_rows_and_mirrored_pairs_stay_together():
    task = ModularTask(modulus=7, fraction=0.6, inputs="tokens", unordered=True)
    x = np.asarray(task.sample(0).x_test)[:, :2]
    chosen = is_validation(len(x))
    validation, test = ({tuple(sorted(row)) for row in x[part]} for part in (chosen, ~chosen))
    assert not validation & test
    assert abs(chosen.sum() - (~chosen).sum()) <= 2
    one = trial()
    parts = one.sample({}).data
    whole = one.experiment.sample({}).data
    both = np.concatenate([parts.x_test, parts.x_final])
    assert sorted(map(bytes, both)) == sorted(map(bytes, np.asarray(whole.x_test)))


@pytest.fixture(scope="module")
def long():
    return train(trial())


def test_the_test_rows_are_read_at_the_last_step_alone(long):
    for name in ("final_test_loss", "final_test_accuracy"):
        values = long.records[name].values
        assert np.isnan(values[:-1]).all()
        assert np.isfinite(values[-1])
    assert not any("/" in name for name in long.records)
    assert long.status == Status.out_of_steps


def test_a_run_ends_when_the_target_has_held_and_is_the_experiment_until_then(long):
    easy = trial(target={"metric": "loss", "level": 1e9})
    found = train(easy)
    assert found.steps.tolist() == [0, 10, 20, 30]
    assert found.status == Status.ok
    assert found.records["held_steps"].values.tolist() == [-1, 0, 10, 20]
    np.testing.assert_allclose(found.train_loss, long.train_loss[:4], rtol=1e-5)


@pytest.mark.slow
def test_a_trial_trains_as_the_experiment_does(long):
    plain = train(trial().experiment.changed({"eval_steps": [10, 20, 30]}))
    np.testing.assert_allclose(long.train_loss[:4], plain.train_loss[:4], rtol=1e-5)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("race") / "out"
    arms = ["nothing", "adamw", "muon"]
    results = race(arms=arms, edition=smoke_edition(), out=folder, progress=False)
    return folder, results


def test_every_trial_is_published_with_the_hash_of_its_edition(published):
    folder, results = published
    rows = results.all_rows()
    assert len(rows) == 2 + 3 + 3
    assert {row["edition"] for row in rows} == {smoke_edition().hash}
    record = json.loads((folder / "edition.json").read_text())
    assert Edition(**record["settings"]).hash == record["edition"] == smoke_edition().hash
    found = summarize(results, TASK)
    assert all(one.is_complete for one in found.values())
    assert found["nothing"].speed_up is not None
    assert len(table(results)) == 3


def test_what_is_published_is_not_run_again(published, monkeypatch, tmp_path):
    folder, _ = published
    monkeypatch.setattr(lazyrich.race._run, "fill", lambda *_, **__: pytest.fail("it ran again"))
    before = {path: path.read_bytes() for path in folder.glob("*/*.json")}
    # The store may be gone: the published rows are enough.
    race(arms=["adamw"], edition=smoke_edition(), out=folder, store=tmp_path, progress=False)
    assert before == {path: path.read_bytes() for path in folder.glob("*/*.json")}


def other_edition(tmp_path):
    """A TOML file that differs from the published race in one number."""
    text = json.loads(smoke_edition().model_dump_json())
    text["rules"]["hold"] = 10
    lines = []

    def write(name, node):
        plain = {k: v for k, v in node.items() if not isinstance(v, dict) and v is not None}
        lines.append(f"[{name}]" if name else "")
        lines.extend(f'"{key}" = {json.dumps(value)}' for key, value in plain.items())
        for key, value in node.items():
            if isinstance(value, dict):
                write(f'{name}."{key}"' if name else f'"{key}"', value)

    write("", text)
    path = tmp_path / "other.toml"
    path.write_text("\n".join(lines))
    assert tomllib.loads(path.read_text())
    return path


REFUSED = {
    "arm": (["--arm", "moun"], "'moun' is not an arm of the race; did you mean muon?"),
    "task": (["--task", "adition_mlp"], "is not a task of the race"),
    "task of the default race": (
        ["--task", "parity"],
        "The race with --smoke has no task 'parity', only addition_mlp; take one that it has, or "
        "leave --smoke out.",
    ),
    "show and law": (["--show", "--delay-law"], "--show and --delay-law do not go together"),
    "show and controls": (["--controls", "--show"], "--show and --controls do not go together"),
    "law of smoke": (["--delay-law"], "--delay-law and --smoke do not go together"),
    "controls of one": (["--controls", "--arm", "muon"], "--controls and --arm do not go together"),
    "nothing to show": (["--show"], "is not a folder; give --out a folder"),
    "no executor": (["--executor", "threads:x"], "The executor is 'threads:x'; wanted serial"),
    "no executor for controls": (["--controls", "--executor", "4"], "The executor is '4'; wanted"),
    "smoke and toml": (["--toml", "x.toml"], "--smoke and --toml are different races"),
    "smoke and full": (["--full"], "--smoke and --full are different races"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_names_that_are_not_there_are_refused(case, tmp_path, capsys):
    arguments, sentence = REFUSED[case]
    assert leave(["race", "--smoke", "--out", str(tmp_path / "new"), *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--task", "images"], "The race without --full has no task 'images', only parity, "),
        (["--task", "images"], "; take one that it has, or give --full."),
        (["--smoke", "--task", "images"], "or give --full instead of --smoke."),
        (["--full", "--task", "digits"], "The race with --full has no task 'digits', only "),
    ],
)
def test_a_task_of_another_size_of_race_is_said_to_be_one(tmp_path, capsys, words, sentence):
    assert leave(["race", "--out", str(tmp_path / "new"), *words]) == 2
    assert sentence in capsys.readouterr().err


def test_a_folder_without_a_race_is_not_shown_as_an_empty_one(tmp_path, capsys):
    assert leave(["race", "--show", "--out", str(tmp_path)]) == 2
    assert f"{tmp_path} holds no race; give --out a folder" in capsys.readouterr().err


def test_results_of_another_edition_are_refused_and_left_as_they_are(published, tmp_path, capsys):
    folder, _ = published
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    other = other_edition(tmp_path)
    arguments = ["race", "--toml", str(other), "--out", str(folder), "--arm", "nothing"]
    assert leave(arguments) == 2
    message = capsys.readouterr().err
    assert f"holds results of edition {smoke_edition().hash[:8]}" in message
    assert "Traceback" not in message
    assert before == {path: path.read_bytes() for path in folder.rglob("*.json")}


def test_of_two_races_that_begin_at_once_in_a_folder_one_is_refused(tmp_path):
    other = Edition(**tree() | {"rules": tree()["rules"] | {"n_fresh_seeds": 3}})
    first, again, second = (
        Results(tmp_path, edition) for edition in (smoke_edition(), smoke_edition(), other)
    )
    first.record_edition()
    again.record_edition()
    before = (tmp_path / "edition.json").read_bytes()
    with pytest.raises(InputError, match="holds results of edition"):
        second.record_edition()
    assert (tmp_path / "edition.json").read_bytes() == before


def test_files_of_others_are_neither_read_nor_replaced(published, tmp_path):
    folder, _ = published
    own = tmp_path / TASK / "adamw.json"
    own.parent.mkdir()
    own.write_text("[]")
    results = Results(tmp_path, smoke_edition())
    with pytest.raises(InputError, match="is not a file of a race"):
        results.rows(TASK, "adamw")
    with pytest.raises(InputError, match="only a file of a race that lazyrich wrote"):
        results.publish(TASK, "adamw", [])
    assert own.read_text() == "[]"
    mixed = (folder / TASK / "adamw.json").read_text().replace(smoke_edition().hash, "0" * 64, 2)
    own.write_text(mixed)
    with pytest.raises(InputError, match="of another edition"):
        results.rows(TASK, "adamw")


def test_the_command_shows_and_draws_what_is_published(published, capsys):
    folder, _ = published
    arguments = ["race", "--smoke", "--show", "--out", str(folder)]
    assert leave([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["arm"] for row in rows} == {"nothing", "adamw", "muon"}


@pytest.mark.slow
def test_pictures_of_what_is_published(published, capsys):
    folder, _ = published
    assert leave(["race", "--smoke", "--show", "--figures", "--out", str(folder)]) == 0
    for name in ("survival", "speed-up", "search", "fit", "sensitivity"):
        assert (folder / f"{name}.png").exists()


@pytest.mark.slow
def test_all_arms_run(tmp_path, capsys):
    assert leave(["race", "--smoke", "--out", str(tmp_path / "race")]) == 0
    results = Results(tmp_path / "race", smoke_edition())
    assert set(summarize(results, TASK)) == set(smoke_edition().arm)
    assert not [row for row in results.all_rows() if row["status"] == "failed"]


WRONG = {
    "a range that holds nothing": (("space", "optimizer.learning_rate", "low"), 1.0),
    "no such baseline": (("rules", "baseline"), "sgd"),
    "three knobs": (("arm", "adamw", "space"), {k: {"of": [1]} for k in "abc"}),
    "a batch of none": (("task", TASK, "batch_size"), 0),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_edition_that_makes_no_race_is_refused(case):
    (*branches, leaf), value = WRONG[case]
    changed = tree()
    node = changed
    for branch in branches:
        node = node[branch]
    node[leaf] = value
    with pytest.raises(InputError):
        Edition(**changed)


def test_an_arm_is_refused_where_it_is_not_defined(tmp_path, capsys):
    arguments = ["race", "--task", "parity", "--arm", "temperature", "--out", str(tmp_path)]
    assert leave(arguments) == 2
    assert "The arm temperature is not defined on parity" in capsys.readouterr().err


def test_the_hash_is_that_of_the_settings_and_not_of_comments(tmp_path):
    text = (Path(lazyrich.race.__file__).parent / "race.toml").read_text(encoding="utf-8")
    path = tmp_path / "race.toml"
    path.write_text("# another comment\n" + text, encoding="utf-8")
    assert read_edition(path).hash == default_edition().hash
    path.write_text(text.replace("n_trials = 5", "n_trials = 6"), encoding="utf-8")
    assert read_edition(path).hash != default_edition().hash
    path.write_text("rules = [", encoding="utf-8")
    with pytest.raises(InputError, match="is not TOML"):
        read_edition(path)


def test_a_target_that_does_not_fit_its_task_is_refused():
    one = default_edition().trial("parity", "adamw", {}, seed=0)
    with pytest.raises(InputError, match="the target is an accuracy"):
        one.changed({"target": Target(metric="accuracy", level=0.9).model_dump()})
    with pytest.raises(InputError, match="must be multiples of every"):
        one.changed({"every": 7})


def put(edition, path, value):
    """The settings of an edition with another value at a path."""
    *parents, last = path
    inner = edition
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return edition


def renamed(kind, name):
    """The settings of the smoke race with its task, or an arm, under another name."""
    found = tree()
    found[kind][name] = found[kind].pop({"task": TASK, "arm": "muon"}[kind])
    return found


@pytest.mark.parametrize("kind", ["task", "arm"])
@pytest.mark.parametrize(
    "name",
    ["../up", "/tmp/away", "a/b", "", ".", "..", "a-b", "controls", "store", "a\x00", "é" * 9],
)
def test_a_name_that_would_lead_out_of_the_folder_or_to_other_results_is_refused(kind, name):
    with pytest.raises(InputError, match="cannot name a task or an arm"):
        Edition(**renamed(kind, name))


UNFAIR = {
    "the seed": ({"seed": 7}, "changes seed"),
    "the number of steps": ({"n_steps": 120}, "changes n_steps"),
    "the data": ({"task.modulus": 7}, "changes task"),
    "what there is not": ({"optimizer.nope": 1}, "not a field"),
}


@pytest.mark.parametrize("case", UNFAIR)
def test_an_arm_that_changes_more_than_the_method_is_refused_before_anything_is_run(case):
    changes, said = UNFAIR[case]
    found = Edition(**put(tree(), ("arm", "adamw", "set"), changes))
    with pytest.raises(InputError, match=f"adamw .*{said}.*\\.$"):
        found.require_trials()


SAID_BADLY = {
    "seeds of the search meet the fresh ones": (("rules", "n_trials"), 256, 4, "seeds in common"),
    "settings from a task without a search": (
        ("task", TASK, "settings_from"),
        TASK,
        1,
        "no search of its own",
    ),
    "no data": (("task", TASK, "experiment"), {"loss": "mse"}, 1, "has no task"),
    "a knob": (("space", "optimizer.learning_rate"), {"low": True}, 1, "learning_rate.range: "),
}


@pytest.mark.parametrize("case", SAID_BADLY)
def test_a_wrong_edition_is_one_sentence_in_its_own_words(case):
    path, value, n_studies, said = SAID_BADLY[case]
    found = put(put(tree(), ("rules", "n_studies"), n_studies), path, value)
    with pytest.raises(InputError, match=said) as refused:
        Edition(**found)
    assert "function-" not in str(refused.value)


def test_a_file_with_a_byte_order_mark_is_the_same_edition(tmp_path):
    packaged = (Path(lazyrich.race.__file__).parent / "race.toml").read_bytes()
    (tmp_path / "own.toml").write_bytes(b"\xef\xbb\xbf" + packaged)
    assert read_edition(tmp_path / "own.toml").hash == default_edition().hash


def test_the_delay_law_of_an_edition_without_its_tasks_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a task"):
        lazyrich.race.measure_delay_law(edition=smoke_edition(), out=tmp_path, store=tmp_path)
    assert not any(tmp_path.iterdir())


def test_records_of_every_evaluation_count_in_what_a_trial_needs():
    short, long = (trial(**{"experiment.n_steps": n}) for n in (60, 6_000_000))
    more = sum(long.memory_needs().values()) - sum(short.memory_needs().values())
    assert more > 8 * (len(long.schedule) - len(short.schedule))


@pytest.mark.parametrize("n", [60_000_000, 60_000_010, 70_000_070])
def test_a_trial_that_is_recorded_too_often_for_the_memory_says_so(monkeypatch, n):
    monkeypatch.setattr("lazyrich.training._memory.free_memory", lambda: 10**9)
    with pytest.raises(
        InputError, match=r"for the records, .*lower (experiment\.n_steps|its sizes)"
    ):
        require_memory([trial(**{"experiment.n_steps": n})])


def test_the_cost_of_a_step_is_that_of_the_objective_however_it_is_written(published):
    results = published[1]
    objective = {"kind": "jacobian_alignment"}
    edition = Edition(**put(tree(), ("arm", "muon", "set"), {"objective": objective}))
    row = results.rows(TASK, "muon")[0] | {"settings": {}}
    cost = lazyrich.race._summary._gradients(edition, TASK, "muon", row)
    assert cost == edition.trial(TASK, "muon", {}, seed=0).experiment.objective.gradient_evaluations
    assert cost > 1


@pytest.fixture
def stored(published, tmp_path):
    """A copy of the published results, and the file of an arm in it."""
    shutil.copytree(published[0] / TASK, tmp_path / TASK)
    shutil.copy(published[0] / "edition.json", tmp_path)
    return Results(tmp_path, smoke_edition()), tmp_path / TASK / "adamw.json"


def test_one_changed_digit_or_letter_of_a_published_file_is_seen(stored):
    results, path = stored
    sound, before = path.read_bytes(), results.rows(TASK, "adamw")
    rng = np.random.default_rng(0)
    for place in rng.integers(30, len(sound), 150):
        flipped = bytes([sound[place] ^ 1 << int(rng.integers(7))])
        path.write_bytes(sound[:place] + flipped + sound[place + 1 :])
        try:
            found = results.rows(TASK, "adamw")
        except InputError:
            continue
        assert found == before  # white space, or a letter in another form


def fields():
    yield "rows", None
    yield "rows", [1]
    for name in ("key", "phase", "time", "study", "settings", "wall_seconds", "at_end", "seed"):
        for value in (None, "text", [1], True, -1, float("nan"), 10**30):
            yield name, value


@pytest.mark.parametrize("has_checksum", [True, False])
def test_no_damage_of_published_rows_is_more_than_a_sentence(stored, has_checksum):
    results, path = stored
    sound = json.loads(path.read_text())
    if not has_checksum:  # as the first version wrote it
        del sound["sha256"]
        path.write_text(json.dumps(sound, indent=1))
        assert len(results.rows(TASK, "adamw")) == 3
    n_refused = 0
    for name, value in fields():
        tree = json.loads(json.dumps(sound))
        (tree if name == "rows" else tree["rows"][-1])[name] = value
        path.write_text(json.dumps(tree, indent=1))
        try:
            table(results)
        except InputError as error:
            n_refused += "adamw.json is damaged" in str(error)
    assert n_refused > (45 if has_checksum else 35)
    rows = sound["rows"]
    for other in (rows * 2, rows[:1], [row | {"arm": "x"} for row in rows]):
        path.write_text(json.dumps(sound | {"rows": other}, indent=1))
        if has_checksum:
            with pytest.raises(InputError, match="damaged"):
                table(results)
    path.write_text(json.dumps(sound | {"arm": "muon"}, indent=1))
    with pytest.raises(InputError, match="its arm is 'muon'"):
        table(results)


def test_studies_with_different_fresh_seeds_are_refused(stored):
    results, path = stored
    sound = json.loads(path.read_text())
    del sound["sha256"]
    fresh = sound["rows"][-1] | {"study": 1, "key": "another"}
    path.write_text(json.dumps(sound | {"rows": [*sound["rows"], fresh]}, indent=1))
    with pytest.raises(InputError, match="different fresh seeds"):
        table(results)

"""Oracle: every file of a folder before and after; exit codes; a small disk that is full."""

import errno
import json
import os
import shlex
import subprocess
import threading
import time

import pytest

from lazyrich import cli
from lazyrich._base import InputError
from lazyrich.cli import _train
from lazyrich.cli._train import _how_to_go_on
from lazyrich.paper import read_results, write_report
from lazyrich.paper._files import read_panels, write_panels
from lazyrich.paper.report import _page
from lazyrich.plots import new_figure, write_figure
from lazyrich.sweeps import export, find
from lazyrich.training import preset
from paper.reproduced import panel, reproduced
from sweeps.test_store_keeps_hands_off import everything

TRAIN = ["train", "polynomial", "--set=task.dim=4", "--set=task.n_train=10", "--set=task.n_test=10"]
TRAIN += ["--set=width=6", "--set=n_steps=5", "--set=metrics=[]"]
FIG4 = ["reproduce", "fig4", "--seeds", "1", "--set", "n_steps=5", "--set", "width=8"]
FIG4 += ["--set", "dim=5", "--set", "n_train=10", "--set", "n_test=10"]


def refused(arguments, capsys):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in arguments])
    said = capsys.readouterr().err
    assert stop.value.code == 2, said
    assert said.startswith("lazyrich: ")
    assert said.count("\n") == 1
    return said


def done(arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in arguments])
    assert stop.value.code == 0


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    where = tmp_path_factory.mktemp("sweep") / "store"
    done(["sweep", *TRAIN[1:], "--store", where])
    return where


@pytest.fixture(autouse=True)
def few_errata(monkeypatch):
    monkeypatch.setattr(_page, "errata", tuple)


def put(path, kind, tmp_path):
    (tmp_path / "victim").write_text("precious")
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(tmp_path / "victim")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        content = {"foreign": b"dear diary", "picture": b"\x89PNG\r\n\x1a\nof others"}[kind]
        path.write_bytes(content)


KINDS = ["folder", "link", "pipe", "foreign", "picture"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["history.nc", "history.png", "history.pdf"])
def test_train_finds_out_before_it_computes(tmp_path, capsys, monkeypatch, name, kind):
    out = tmp_path / "out"
    out.mkdir()
    put(out / name, kind, tmp_path)
    before = everything(tmp_path)
    monkeypatch.setattr("lazyrich.training.train", lambda *_, **__: pytest.fail("it computed"))
    assert name in refused([*TRAIN, "--out", out], capsys)
    assert everything(tmp_path) == before


def test_of_two_experiments_that_begin_at_once_in_a_folder_one_is_refused(tmp_path, monkeypatch):
    original = _train.read_file

    def slow(*arguments, **options):
        try:
            return original(*arguments, **options)
        finally:
            time.sleep(0.2)  # so that both look before either writes

    monkeypatch.setattr(_train, "read_file", slow)
    found = []

    def begin(seed):
        try:
            _train._require_places(tmp_path, preset("committee").changed({"seed": seed}))
        except InputError as error:
            found.append(str(error))
        else:
            found.append("")

    threads = [threading.Thread(target=begin, args=(seed,)) for seed in (0, 0, 1, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("holds another experiment" in said for said in found) == found.count("") == 2


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "foreign", "bytes", "endless"])
def test_an_experiment_file_that_is_none_gets_a_sentence(tmp_path, capsys, kind):
    """As the input, and beside the results."""
    out = tmp_path / "out"
    out.mkdir()
    path = out / "experiment.json"
    if kind == "bytes":
        path.write_bytes(b"\xff\xfe\x00")
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        put(path, kind, tmp_path)
    before = everything(tmp_path)
    refused(["train", path, "--out", tmp_path / "other"], capsys)
    refused([*TRAIN, "--out", out], capsys)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "name, kind",
    [(name, kind) for name in ("fig4.nc", "fig4.png", "fig4.pdf") for kind in KINDS]
    + [("claims.json", kind) for kind in ("folder", "link", "pipe")],
)
def test_reproduce_finds_out_before_it_computes(tmp_path, capsys, monkeypatch, name, kind):
    out = tmp_path / "out"
    out.mkdir()
    put(out / name, kind, tmp_path)
    before = everything(tmp_path)
    monkeypatch.setattr(
        "lazyrich.paper._reproduce.fill_figures", lambda *_, **__: pytest.fail("it computed")
    )
    assert name in refused([*FIG4, "--out", out], capsys)
    assert everything(tmp_path) == before


def test_a_report_replaces_reports_alone(tmp_path, capsys):
    folder = reproduced(tmp_path)
    (folder / "notes").write_text("<!DOCTYPE html>\n<title>my page</title>")
    (folder / "link").symlink_to(folder / "claims.json")
    os.mkfifo(folder / "pipe")
    for _ in range(2):
        done(["report", "--out", folder, "--to", folder / "page.html"])
    before = everything(tmp_path)
    names = ["claims.json", "fig1.nc", "fig1.png", "fig1.pdf", "notes", "link", "pipe"]
    for target in [*(folder / name for name in names), "/dev/null", ""]:
        refused(["report", "--out", folder, "--to", target], capsys)
        assert everything(tmp_path) == before


@pytest.mark.parametrize("name", ["fig1.png", "fig1.pdf", "fig1.nc"])
def test_a_link_is_not_put_into_the_report(tmp_path, name):
    (tmp_path / "out").mkdir()
    folder = reproduced(tmp_path / "out")
    secret = tmp_path / "secret"
    os.rename(folder / name, secret)  # a sound picture, but elsewhere
    (folder / name).symlink_to(secret)
    text = write_report(folder, tmp_path / "page.html").read_text(encoding="utf-8")
    assert f'download="{name}"' not in text
    if name == "fig1.png":
        assert "The picture fig1.png is not in" in text
        assert "<img" not in text
    os.remove(folder / name)
    os.mkfifo(folder / name)
    assert write_report(folder, tmp_path / "page.html").read_text(encoding="utf-8") == text


def test_a_changed_bit_in_a_figures_data_is_noticed(tmp_path):
    content = (reproduced(tmp_path) / "fig1.nc").read_bytes()
    assert list(read_panels(content)) == ["runs"]
    data = content.rindex(b"\nlazyrich figure data sha256 ")
    for place in range(0, data, data // 100):
        broken = content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]
        assert read_panels(broken) == {}
    assert list(read_panels(content[:data])) == ["runs"]  # as the first version wrote it


@pytest.mark.parametrize(
    "place", ["afile/x.png", "", "..", "name" * 100, "link.png", "folder.png", "foreign.png"]
)
def test_a_place_for_a_picture_that_cannot_be_written(tmp_path, store, capsys, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "afile").write_text("diary")
    put(tmp_path / "link.png", "link", tmp_path)
    put(tmp_path / "folder.png", "folder", tmp_path)
    put(tmp_path / "foreign.png", "picture", tmp_path)
    before = everything(tmp_path)
    refused(["show", store, "--json", "--plot", place], capsys)
    assert everything(tmp_path) == before


def test_pictures_of_ours_are_replaced_and_those_of_others_not(tmp_path):
    from matplotlib.figure import Figure

    figure, _ = new_figure(1, 1)
    for _ in range(2):
        write_figure(figure, tmp_path, "ours")
    theirs = Figure()
    for ending in ("png", "pdf"):
        theirs.savefig(tmp_path / f"theirs.{ending}")
        before = everything(tmp_path)
        with pytest.raises(InputError, match=f"theirs.{ending} cannot be written"):
            write_figure(figure, tmp_path, "theirs")
        assert everything(tmp_path) == before
        (tmp_path / f"theirs.{ending}").unlink()
    # The first version's PDF had no mark and no date.
    theirs.savefig(tmp_path / "ours.pdf", metadata={"CreationDate": None})
    write_figure(figure, tmp_path, "ours")


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_tables_of_ours_are_replaced_and_those_of_others_not(tmp_path, store, ending):
    path = tmp_path / f"table{ending}"
    outcomes = find(store)
    for _ in range(2):
        export(outcomes, path)
    for content in (b"a,b\n1,2\n", b"", b"PAR1 of others PAR1"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="only a table that lazyrich wrote is replaced"):
            export(outcomes, path)
        assert path.read_bytes() == content


def test_what_is_computed_outlives_a_picture_that_fails(tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise InputError("x.png cannot be written (No space left on device).")

    monkeypatch.setattr("lazyrich.plots.write_figure", full)
    with pytest.raises(SystemExit) as stop:
        cli.main([*TRAIN, "--out", str(tmp_path), "--json"])
    assert stop.value.code == 2
    assert "train_loss" in json.loads(capsys.readouterr().out)
    assert (tmp_path / "history.nc").stat().st_size > 1000


def test_a_run_stopped_before_there_is_a_state_does_not_say_it_is_kept(tmp_path):
    checkpoint = tmp_path / "checkpoint.npz"
    assert "before there was any state" in _how_to_go_on(checkpoint)
    assert "before there was any state" in _how_to_go_on(None)
    checkpoint.write_bytes(b"")
    assert f"its state is kept in {checkpoint}" in _how_to_go_on(checkpoint)


@pytest.fixture(params=["mounted", "faked"])
def full_disk(request, tmp_path, monkeypatch):
    """A folder, and what makes its disk full."""
    if request.param == "faked":

        def refuse(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        yield tmp_path, lambda: monkeypatch.setattr(os, "fsync", refuse)
        return
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "lazyrich", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a disk here")

    def fill():
        with (folder / "ballast").open("wb", buffering=0) as file:
            for size in (4096, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    continue

    yield folder, fill
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(full_disk, capsys):
    folder, fill = full_disk
    reproduced(folder)
    figure, [axes] = new_figure(1, 1)
    done(["report", "--out", folder, "--to", folder / "page.html"])
    fill()
    before = everything(folder)
    axes.plot(range(9))
    large = panel().isel(seed=[0] * 300)
    actions = [
        lambda: write_figure(figure, folder, "fig1"),
        lambda: write_panels(folder / "fig1.nc", {"runs": large}, {"title": "fig1"}),
        lambda: write_report(folder, folder / "page.html"),
    ]
    for action in actions:
        with pytest.raises(InputError, match=r"No space left on device\); make room"):
            action()
        assert everything(folder) == before


def test_an_npz_or_gzip_bomb_as_images_gets_a_sentence(tmp_path, capsys, monkeypatch):
    import gzip
    import zipfile

    monkeypatch.setattr("lazyrich.tasks._files.MOST_BYTES", 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(2**22))
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").write_bytes(gzip.compress(bytes(2**22)))
    os.mkfifo(tmp_path / "pipe.npz")
    for place in ("bomb.npz", "folder", "pipe.npz", "/dev/zero"):
        digits = ["train", "digits", "--set", "source=mnist", "--out", tmp_path / "out"]
        refused([*digits, "--set", f"folder={tmp_path / place}"], capsys)


PATHS = [
    ("train", "committee", "--out"),
    ("reproduce", "fig1", "--out"),
    ("claims", "--out"),
    ("report", "--out"),
    ("report", "--to"),
    ("show", "nowhere", "--csv"),
    ("show", "nowhere", "--parquet"),
    ("show", "nowhere", "--plot"),
    ("diagnose", "net.py", "--data"),
    ("diagnose", "net.py", "--before"),
    ("diagnose", "net.py", "--after"),
    ("diagnose", "net.py", "--html"),
    ("race", "--show", "--out"),
    ("race", "--show", "--toml"),
    ("data", "mnist", "--to"),
]


@pytest.mark.parametrize("words", PATHS, ids=" ".join)
def test_no_folder_is_made_for_an_address_an_empty_name_or_nobodys_home(
    tmp_path, monkeypatch, capsys, words
):
    monkeypatch.chdir(tmp_path)
    for path in ("", " ", "s3://bucket/x", "https://x/y", "file:///x", "~nosuchuser/x"):
        assert f"Invalid value for {words[-1]}: " in refused([*words, path], capsys)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ("reproduce", "fig4", "--executor", "threads:x", "--out", "new"),
        ("race", "--executor", "no", "--out", "new"),
        ("race", "--delay-law", "--executor", "no", "--out", "new"),
        ("data", "mnist", "--to", "new", "--from", "not-an-address"),
    ],
    ids=" ".join,
)
def test_what_is_refused_leaves_no_folder(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    assert "wanted serial" in (said := refused(words, capsys)) or "The address is" in said
    assert not any(tmp_path.iterdir())


def test_a_path_below_the_home_folder_lies_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path / "home" / "r") in refused(["claims", "--out", "~/r"], capsys)


@pytest.mark.parametrize("name", ["two words", "o'brien", "$HOME;x", "日本"])
def test_commands_that_are_named_can_be_typed(tmp_path, name):
    """Oracle: the shell's own rules of splitting words (`shlex.split`)."""
    out = tmp_path / name
    out.mkdir()
    (out / "experiment.json").write_text(preset("committee").model_dump_json())
    with pytest.raises(InputError, match="holds another experiment") as caught:
        _train._require_places(out, preset("committee").changed({"seed": 1}))
    named = str(caught.value).removesuffix(".").split("that one: ")[1]
    wanted = ["lazyrich", "train", str(out / "experiment.json"), "--out", str(out)]
    assert shlex.split(named) == wanted
    with pytest.raises(InputError) as caught:
        read_results(out / "empty")
    named = str(caught.value).split("`")[1]
    assert shlex.split(named) == ["lazyrich", "reproduce", "all", "--out", str(out / "empty")]

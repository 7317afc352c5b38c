"""Oracle: what the design promises of the server, asked for by a plain HTTP client."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from explorer.stored import STEPS, exponential_store
from lazyrich import InputError, cli
from lazyrich.diagnosis import Diagnosis, Reading
from lazyrich.diagnosis._verdict import Regime
from lazyrich.explorer import ExplorerServer, read_document
from lazyrich.explorer._jobs import experiment_of
from lazyrich.explorer._server import MOST_BODY
from lazyrich.training import CommitteeExperiment


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return exponential_store(tmp_path_factory.mktemp("explored") / "store")


@pytest.fixture(scope="module")
def server(store):
    with ExplorerServer(read_document(store)) as found:
        yield found


@pytest.fixture
def trainer():
    with ExplorerServer(train=True) as found:
        yield found


def ask(server, path="", *, method="GET", token=None, body=None, **headers):
    """Status and decoded content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    token = server.token if token is None else token
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, f"/{token}/{path}", skip_host="Host" in headers)
    if body is not None:
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | headers
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    is_json = answer.headers["Content-Type"].startswith("application/json")
    return answer.status, json.loads(content) if is_json else content.decode()


def refused(answer, status):
    assert answer[0] == status, answer
    sentence = answer[1]["error"]
    assert sentence.endswith(".")
    assert len(sentence) < 500


def test_the_page_and_its_runs_are_served(server):
    status, page = ask(server)
    assert status == 200
    assert page.startswith("<!DOCTYPE html>")
    assert '"presets":null' in page
    status, index = ask(server, "api/document")
    assert status == 200
    assert index["settings"]["alpha"] == [1] * 4 + [3] * 4 + [1e6] * 4
    assert [run["outcome"] for run in index["runs"]][::4] == [
        "generalises with fitting",
        "generalises late",
        "fits only",
    ]
    # exp(−t) = 0.1 at t = ln 10 = 2.3, in units of 60 steps; read off between records.
    assert index["runs"][0]["train_step"] == pytest.approx(60 * 2.3026, rel=0.01)
    assert index["runs"][8]["delay"] is None
    assert index["runs"][8]["is_censored"]
    status, [first, last] = ask(server, "api/curves?runs=0,11")
    assert first["steps"] == last["steps"] == STEPS.tolist()
    assert last["values"]["test_loss"][0] == 1.1


def test_it_listens_on_the_loopback_address_alone(server):
    assert server._server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.port}/{server.token}/"
    assert len(server.token) >= 32


@pytest.mark.parametrize("token", ["x", "", "..", "%2e%2e", "%C3%A4", "api"])
def test_without_the_token_nothing_is_said(server, token):
    for path in ("", "api/document", "../api/document"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.putrequest("GET", f"/{token}/{path}")
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 403
        assert "token" in json.loads(answer.read())["error"]
        connection.close()


def test_other_hosts_and_pages_are_refused(server):
    for host in ("evil.example", f"127.0.0.1:{server.port}.evil.example", "127.0.0.1", ""):
        refused(ask(server, Host=host), 403)
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{server.port}"):
        refused(ask(server, "api/document", Origin=origin), 403)
    refused(ask(server, "api/document", Sec_Fetch_Site="cross-site"), 403)
    own = f"http://127.0.0.1:{server.port}"
    assert ask(server, "api/document", Origin=own, Sec_Fetch_Site="same-origin")[0] == 200


@pytest.mark.parametrize(
    ("line", "hosts", "status"),
    [
        ("http://evil.example/{token}/", ["{own}"], 400),
        ("http://[/{token}/", ["{own}"], 400),
        ("http://[::1/{token}/", ["{own}"], 400),
        ("/{token}/", ["{own}", "evil.example"], 403),
        ("/{token}/", ["evil.example", "{own}"], 403),
        ("/{token}/", [], 403),
        ("/{token}/", ["{own}"], 200),
    ],
)
def test_a_request_that_names_two_hosts_or_none_is_refused(server, line, hosts, status):
    own = {"token": server.token, "own": f"127.0.0.1:{server.port}"}
    text = f"GET {line.format(**own)} HTTP/1.1\r\n"
    text += "".join(f"Host: {host.format(**own)}\r\n" for host in hosts)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(f"{text}Connection: close\r\n\r\n".encode())
        assert connection.makefile("rb").readline().split()[1] == str(status).encode()


@pytest.mark.parametrize(
    "path",
    ["../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "page.js", "api", "api/document/x", "/"],
)
def test_there_are_no_files_to_be_had(server, path):
    refused(ask(server, path), 404)


def test_the_address_ends_with_a_slash(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", f"/{server.token}")
    assert connection.getresponse().status == 404
    connection.close()


def test_numbers_in_the_address_are_checked(server):
    refused(ask(server, "api/curves?runs=12"), 404)
    refused(ask(server, "api/curves?runs=-1"), 400)
    refused(ask(server, "api/curves?runs=1e3"), 400)
    refused(ask(server, "api/curves?runs=" + "0," * 300), 400)
    assert ask(server, "api/curves") == (200, [])
    assert ask(server, "x" * 70_000)[0] == 414


def test_it_only_reads_unless_it_is_told_to_train(server):
    run = json.dumps({"preset": "committee", "changes": ""}).encode()
    refused(ask(server, "api/train", method="POST", body=run), 403)
    refused(ask(server, "api/jobs/1", method="GET"), 404)
    for method in ("PUT", "DELETE", "HEAD", "OPTIONS"):
        assert ask(server, "api/document", method=method)[0] == 501 if method != "HEAD" else True


def test_a_bad_request_to_train_is_answered_in_a_sentence(trainer):
    def post(body, **headers):
        return ask(trainer, "api/train", method="POST", body=body, **headers)

    refused(post(b"x" * (MOST_BODY + 1)), 413)
    refused(post(b"", Content_Length="99999999999"), 413)
    refused(post(None), 411)
    refused(post(b"{}", Content_Length="-1"), 411)
    refused(post(b"{}", Content_Type="text/plain"), 415)
    refused(post(b"{}", Origin="http://evil.example"), 403)
    for body in (b"{}", b"[]", b"null", b"{", b"\xff", b"[" * 10_000):
        refused(post(body), 400)
    for body in (
        b'{"preset": "committee", "changes": "alpha=1", "changes": "alpha=2"}',
        b'{"preset": "committee", "changes": NaN}',
    ):
        refused(post(body), 400)
    for preset, changes in (
        ("nothing", ""),
        (1, ""),
        ("committee", None),
        ("committee", "alpha"),
        ("committee", "alpha=-1"),
        ("committee", "alpha=1 alpha=2"),
        ("committee", "n_steps=2000000"),
        ("committee", "n_train=100000000"),
        ("committee", "code=__import__('os')"),
        ("digits", "task.folder=/etc"),
        ("digits", 'task={"kind":"images","source":"mnist","fold\\u0065r":"/etc"}'),
        ("digits", 'task={"kind":"images","source":"mnist","folder":"/etc"}'),
    ):
        refused(post(json.dumps({"preset": preset, "changes": changes}).encode()), 400)
    refused(post(json.dumps({"preset": "committee", "changes": "", "x": 1}).encode()), 400)
    refused(ask(trainer, "api/jobs/7"), 404)
    refused(ask(trainer, "api/jobs/7/stop", method="POST", body=b"{}"), 404)
    assert trainer.jobs._jobs == {}


def test_a_setting_that_is_fine_is_taken():
    found = experiment_of("committee", "alpha=4 n_steps=100")
    assert isinstance(found, CommitteeExperiment)
    assert found.alpha == 4


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_run_streams_and_can_be_stopped(trainer):
    changes = "dim=5 n_train=20 width=10 n_test=50 n_probe=0 n_steps="
    body = json.dumps({"preset": "committee", "changes": f"{changes}200"}).encode()
    status, found = ask(trainer, "api/train", method="POST", body=body)
    assert status == 200
    short = trainer.jobs.job(found["job"])
    wait_for(lambda: short.state != "running")
    assert (short.state, short.error) == ("done", "")
    assert [one["step"] for one in short.records][:: len(short.records) - 1] == [0, 200]
    assert short.since(3)["records"] == short.records[3:]

    large = "dim=30 n_train=300 n_probe=0 n_steps=1000000"
    body = json.dumps({"preset": "committee", "changes": large}).encode()
    numbers = [ask(trainer, "api/train", method="POST", body=body)[1]["job"] for _ in range(2)]
    refused(ask(trainer, "api/train", method="POST", body=body), 400)
    first, second = (trainer.jobs.job(number) for number in numbers)
    wait_for(lambda: len(first.records) > 2)
    assert ask(trainer, f"api/jobs/{numbers[0]}/stop", method="POST", body=b"{}")[0] == 200
    wait_for(lambda: first._process.poll() is not None)
    assert first.state == "stopped"
    trainer.jobs.close()
    wait_for(lambda: second._process.poll() is not None)


def test_training_makes_no_folder_that_a_killed_server_would_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with ExplorerServer(train=True):
        assert not os.listdir(tmp_path)


def test_idle_connections_give_way_to_new_ones(server):
    idle = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=10) for _ in range(40)]
    for connection in idle:
        connection.request("GET", f"/{server.token}/api/document")
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()  # and the connection stays open
    assert ask(server)[0] == 200
    # Those that came last are the ones that are still open.
    idle[-1].request("GET", f"/{server.token}/api/document")
    assert idle[-1].getresponse().status == 200
    for connection in idle:
        connection.close()


@contextmanager
def started(*options):
    """The command in a process of its own, and the address that it prints."""
    command = [sys.executable, "-m", "lazyrich.cli", "explore", "--no-browser", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as run:
        timer = threading.Timer(60, run.kill)  # if it says nothing
        timer.start()
        line = run.stdout.readline()
        timer.cancel()
        assert line.startswith("explore: http://127.0.0.1:")
        try:
            yield run, line.split()[1]
        finally:
            run.kill()


@pytest.mark.slow
def test_processes_end_with_a_server_that_is_killed():
    with started("--train") as (run, url):
        _, _, host, token, _ = url.split("/")
        server = SimpleNamespace(port=int(host.split(":")[1]), token=token)
        body = json.dumps({"preset": "committee", "changes": "n_steps=1000000"}).encode()
        [number] = ask(server, "api/train", method="POST", body=body)[1].values()
        wait_for(lambda: ask(server, f"api/jobs/{number}")[1]["records"])
        listed = ["ps", "-o", "pid=", "--ppid", str(run.pid)]
        [child] = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
        run.send_signal(signal.SIGKILL)
        run.wait()
        wait_for(lambda: not is_alive(child), 10)


def is_alive(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().split(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_the_command_ends_on_ctrl_c():
    with started() as (run, _):
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 130
        assert run.stderr.read() == "lazyrich: the page is closed.\n"


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, capsys, store):
    (tmp_path / "notes.json").write_text('{"regime": "lazy"}')
    (tmp_path / "broken.json").write_text('{"regime"')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "page.html").write_text("<!DOCTYPE html><p>hello")
    (tmp_path / "noise.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + b"0" * 100)
    (tmp_path / "empty").mkdir()
    names = ("notes.json", "broken.json", "list.json", "page.html", "noise.nc", "empty", "missing")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        wrong = [[str(tmp_path / name)] for name in names]
        wrong += [["--port", port], ["--port", "70000"], ["--port", "-1"], ["--port", "1.5"]]
        for arguments in wrong:
            with pytest.raises(SystemExit) as stopped:
                cli.main(["explore", "--no-browser", *arguments])
            assert stopped.value.code == 2, arguments
            said = capsys.readouterr()
            assert said.out == ""
            assert said.err.startswith("lazyrich: ")
            assert said.err.count("\n") == 1, said.err


def test_what_can_be_opened(store, tmp_path):
    assert len(read_document(store).curves) == 12
    reproduced = tmp_path / "reproduction"
    reproduced.mkdir()
    (reproduced / "claims.json").write_text("{}")
    os.symlink(store, reproduced / "store")
    assert len(read_document(reproduced).curves) == 12
    file = next((store / "experiments").glob("*.nc"))
    single = read_document(file)
    assert single.index["kind"] == "run"
    assert single.index["quantities"] == {
        "train_loss": "label units²",
        "test_loss": "label units²",
        "weight_norm": "dimensionless",
    }


def test_too_many_runs_are_refused(store, monkeypatch):
    monkeypatch.setattr("lazyrich.explorer._document.MOST_RUNS", 3)
    with pytest.raises(InputError, match="has 12 experiments, a page shows 3"):
        read_document(store)


def diagnosis():
    """A diagnosis as ``diagnose`` returns it, with numbers of our own."""
    return Diagnosis(
        regime=Regime.RICH,
        reason="It has moved.",
        readings={"gap": Reading("linearization gap", 0.5, 0.4, 0.6, null=0.0)},
        groups={},
        advice=(),
        notes=("There is </script> one note.",),
        setup={},
        records=tuple({"step": float(k), "linearization_gap": 0.1 * k} for k in range(4)),
    )


def test_a_diagnosis_is_shown_from_its_json_and_from_its_page(tmp_path):
    (tmp_path / "one.json").write_text(diagnosis().to_json())
    diagnosis().to_html(tmp_path / "one.html")
    for name in ("one.json", "one.html"):
        index, [curve] = read_document(tmp_path / name)
        assert index["diagnosis"]["regime"] == "rich"
        assert index["diagnosis"]["readings"]["gap"]["high"] == 0.6
        assert index["diagnosis"]["notes"] == ["There is </script> one note."]
        assert curve.to_json() == {
            "steps": [0, 1, 2, 3],
            "values": {"linearization_gap": [0.0, 0.1, 0.2, 0.3]},
        }

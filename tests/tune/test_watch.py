"""The page of a running study: what the server gives to whom, and what a browser shows."""

import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fastopt import tune
from fastopt.tune import watching
from fastopt.tune.watching.feed import Feed
from fastopt.tune.watching.server import make_server

MARKUP = '<img src=x onerror="document.title=1">'
SPACE = {
    MARKUP: tune.Float(0.0, 1.0),
    "n": tune.Int(1, 9),
    "rule": tune.Categorical(["adam", "</script><script>alert(1)</script>"]),
    "beta": tune.Float(0.5, 1.0, when={"rule": "adam"}),
}


def objective(params):
    tune.note(accuracy=float("nan"), tag=MARKUP)
    if params["n"] == 5:
        raise ValueError(MARKUP)
    yield 3.0
    yield params[MARKUP] + params["n"]


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "study.db")
    with tune.Study(SPACE, strategy="random", storage=path, name=f"demo {MARKUP}") as study:
        study.run(objective, 30, max_failures=None)
    return path


@contextlib.contextmanager
def serving(path):
    with tune.open(path) as study, make_server(study) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def get(port, path="/", host=None, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    host = f"127.0.0.1:{port}" if host is None else host
    connection.request(method, path, headers={"Host": host, **headers})
    answer = connection.getresponse()
    return answer, answer.read().decode()


def test_the_feed_gives_everything_once_and_then_what_has_changed():
    study = tune.Study({"x": tune.Int(0, 9)}, strategy="grid")
    feed = Feed(study)
    study.tell(study.ask(), 1.0)
    running = study.ask()
    first = feed.since(0)
    assert [(t["number"], t["state"]) for t in first["trials"]] == [(0, "done"), (1, "running")]
    assert feed.since(first["token"])["trials"] == []
    study.tell(running, 2.0, notes={"a": 1})
    study.delete(0)
    second = feed.since(first["token"])
    assert {t["number"]: t.get("state") for t in second["trials"]} == {1: "done", 0: None}
    study.invalidate(1, "wrong data")
    third = feed.since(second["token"])
    study.invalidate(1, "no data")
    (last,) = feed.since(third["token"])["trials"]
    assert last["error"] == "no data"
    # A page that starts now gets each trial once, as it is.
    assert [t["number"] for t in feed.since(0)["trials"]].count(1) == 1


def test_numbers_are_written_as_in_the_pictures():
    study = tune.Study({"lr": tune.Float(1e-5, 1e-1, log=True)}, seed=0)
    study.enqueue({"lr": 2.5e-5})
    study.tell(study.ask(), 1.0)
    feed = Feed(study)
    assert [text for _, text in feed.about()["parameters"][0]["ticks"]] == ["1e-5", "0.001", "0.1"]
    assert feed.since(0)["trials"][0]["params"] == {"lr": "2.5e-5"}


def test_a_note_with_the_name_of_a_parameter_does_not_stand_for_it():
    study = tune.Study({"x": tune.Int(3, 3)})
    study.tell(study.ask(), 1.0, notes={"x": 5, "y": 7})
    (record,) = Feed(study).since(0)["trials"]
    assert record["params"] == {"x": "3"}
    assert record["notes"] == {"note_x": "5", "y": "7"}


def test_the_page_and_its_files_come_with_a_policy_that_lets_no_other_code_run(path):
    with serving(path) as port:
        for name, kind in (
            ("/", "text/html"),
            ("/watch.js", "text/javascript"),
            ("/watch.css", "text/css"),
            ("/trials", "application/json"),
        ):
            answer, body = get(port, name)
            assert answer.status == 200
            assert answer.headers["Content-Type"] == f"{kind}; charset=utf-8"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert body
        page = get(port)[1]
        assert "<img" not in page
        assert "&lt;img" in page
        assert get(port, "/study.db")[0].status == 404
        assert get(port, "/../server.py")[0].status == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "", "127.0.0.1", "127.0.0.1:1"]
)
def test_a_request_under_another_name_is_refused(path, host):
    with serving(path) as port:
        for name in ("/", "/trials", "/watch.js"):
            answer, body = get(port, name, host=host.format(port=port))
            assert answer.status == 403
            assert "demo" not in body


def test_it_listens_on_this_machine_alone_and_takes_nothing_but_get(path):
    with tune.open(path) as study, make_server(study) as server:
        assert server.server_address[0] == "127.0.0.1"
    with serving(path) as port:
        assert get(port, host=f"localhost:{port}")[0].status == 200
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert get(port, method=method)[0].status == 501


def test_what_has_been_seen_is_not_sent_again(path):
    with serving(path) as port:
        first = json.loads(get(port, "/trials")[1])
        assert len(first["trials"]) == 30
        assert first["about"]["name"] == f"demo {MARKUP}"
        assert first["trials"][0]["notes"]["accuracy"] == "nan"
        again = json.loads(get(port, f"/trials?after={first['token']}")[1])
        assert again == {"token": first["token"], "trials": []}
        with tune.open(path, writable=True) as study:
            study.run(objective, 1)
        later = json.loads(get(port, f"/trials?after={first['token']}")[1])
        assert [t["number"] for t in later["trials"]] == [30]
        # With a token of another server, or nonsense, everything is sent.
        for token in ("other.3", "x", f"{first['token'].split('.')[0]}.-1"):
            assert len(json.loads(get(port, f"/trials?after={token}")[1])["trials"]) == 31


def test_a_file_that_is_gone_is_said(path, tmp_path):
    with serving(path) as port:
        get(port, "/trials")
        (tmp_path / "study.db").rename(tmp_path / "moved.db")
        answer, body = get(port, "/trials")
        assert answer.status == 503
        assert "is not there any more" in body
        (tmp_path / "moved.db").rename(tmp_path / "study.db")
        assert get(port, "/trials")[0].status == 200


def test_each_change_of_a_large_study_costs_its_own_trials():
    study = tune.Study({"x": tune.Float(0.0, 1.0)}, strategy="random")
    for i in range(300):
        study.add({"x": i / 300}, float(i))
    feed = Feed(study)
    token = feed.since(0)["token"]
    study.tell(study.ask(), 1.0)
    assert len(feed.since(token)["trials"]) == 1


def browser():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return name
    return None


def dump(address, width=1200):
    """The page as the browser has made it, after it has asked a few times."""
    if browser() is None:
        pytest.fail("needs chromium: apt-get install chromium")
    command = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},2000",
        "--virtual-time-budget=4000", "--dump-dom", address,
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 500])
def test_a_browser_shows_the_study_and_runs_nothing_of_its_texts(path, width):
    with serving(path) as port:
        page = dump(f"http://127.0.0.1:{port}/", width)
        with tune.open(path) as study:
            best = study.best
    assert "<title>demo &lt;img" in page
    assert "<img" not in page
    assert "alert(1)</script></" not in page
    assert f"trial {best.number}" in page
    assert page.count("<canvas") == 2 + len(SPACE)
    assert "as of " in page
    assert "No answer" not in page
    assert len(re.findall(r"<section[^>]* hidden", page)) == 0


@pytest.mark.slow
def test_a_browser_shows_no_empty_pictures(tmp_path):
    path = str(tmp_path / "study.db")
    with tune.Study(SPACE, strategy="random", storage=path) as study:
        study.tell(study.ask(), error="no")
    with serving(path) as port:
        page = dump(f"http://127.0.0.1:{port}/")
    for name in ("best", "history-section", "curve-section", "slice-section"):
        assert re.search(rf'<section id="{name}" hidden', page)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("countTicks(26, 1).map(([_, text]) => text)", ["10", "20"]),
        ("countTicks(3, 1)", [[0, "1"], [1 / 3, "2"], [2 / 3, "3"], [1, "4"]]),
        ("valueScale([1, 1.1, 2]).share(2)", 1),  # of three values none is left out
        ("[0, 0.0035305].map((v) => valueScale([v, v]).ticks)", [[0], [0.00353]]),
    ],
)
def test_axes_in_a_browser_begin_at_one_epoch_and_hold_few_and_equal_values(
    tmp_path, expression, expected
):
    script = Path(watching.__file__).with_name("watch.js").as_uri()
    page = tmp_path / "page.html"
    page.write_text(
        f'<title></title><p id="status"></p><script src="{script}"></script><script>'
        f'about = {{direction: "minimize"}}; document.title = JSON.stringify({expression})</script>'
    )
    (title,) = re.findall(r"<title>(.*)</title>", dump(page.as_uri()))
    assert json.loads(title) == expected


def test_it_is_started_from_the_command_line_and_ended_by_ctrl_c(path):
    command = [sys.executable, "-m", "fastopt", "watch", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline()
            port = int(re.match(r"http://127\.0\.0\.1:(\d+)/", address)[1])
            assert get(port)[0].status == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


def test_a_browser_that_goes_away_ends_nothing_and_leaves_no_message(path, capsys):
    with serving(path) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as browsing:
            browsing.sendall(b"GET /trials HTTP/1.1\r\n")
            # Closing resets the connection, so that reading the rest of the request fails.
            browsing.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Requests are accepted one after the other, so the broken one was when this is answered.
        assert get(port)[0].status == 200
        while any("process_request" in thread.name for thread in threading.enumerate()):
            time.sleep(0.01)
    assert capsys.readouterr().err == ""

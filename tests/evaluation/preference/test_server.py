from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

from alice_repro.errors import UserError
from alice_repro.evaluation.preference.ballot import Ballot
from alice_repro.evaluation.preference.opening import open_study
from alice_repro.evaluation.preference.server import VoteServer
from alice_repro.evaluation.preference.study import VOTES
from alice_repro.evaluation.preference.votes import VoteLog, read_votes


@pytest.fixture
def server(study):
    log = VoteLog(study.folder / VOTES)
    with VoteServer(Ballot(study, log)) as running:
        yield running
    log.close()


def ask(port: int, method: str, path: str, body: dict | bytes | None = None, **headers: str):
    """Status, headers and body of a raw request: no client tidies the path."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    if isinstance(body, dict):
        headers = {"Content-Type": "application/json"} | headers
    connection.request(method, path, content, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    got = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return got


def call(port: int, action: str, **body) -> tuple[int, dict]:
    status, _, content = ask(port, "POST", f"/api/{action}", body)
    return status, json.loads(content)


def test_a_rater_votes_to_the_end(server, study):
    status, state = call(server.port, "enter", rater="Ann")
    assert status == 200 and state["rater"] == "ann"
    seen = []
    while (task := state["task"]) is not None:
        assert task["number"] == len(seen) + 1 and task["total"] == 6
        seen.append(task["task"])
        vote = {"task": task["task"], "criterion": "overall", "choice": "1"}
        status, state = call(server.port, "vote", rater="ann", **vote)
        assert status == 200
    assert len(set(seen)) == 6
    votes = [event for event in read_votes(study.folder / VOTES) if event["event"] == "vote"]
    assert len({event["pair"] for event in votes}) == 6 and {event["rater"] for event in votes} == {"ann"}
    assert all(event["choice"] == event["first"] for event in votes)


def test_a_double_submit_and_a_second_window_are_refused_with_the_next_pair(server):
    _, state = call(server.port, "enter", rater="ann")
    vote = {"rater": "ann", "task": state["task"]["task"], "criterion": "overall", "choice": "2"}
    _, after = call(server.port, "vote", **vote)
    for _ in range(2):
        status, refused = call(server.port, "vote", **vote)
        assert status == 409 and "judged already" in refused["error"]
        assert refused["task"] == after["task"]


def test_raters_at_once_each_see_every_pair_once(server, study):
    seen: dict[str, list[str]] = {}

    def judge(rater: str) -> None:
        _, state = call(server.port, "enter", rater=rater)
        seen[rater] = []
        while (task := state["task"]) is not None:
            seen[rater].append(task["task"])
            _, state = call(server.port, "vote", rater=rater, task=task["task"], criterion="overall", choice="tie")

    threads = [threading.Thread(target=judge, args=(name,)) for name in ("ann", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(set(pairs)) for pairs in seen.values()] == [6, 6]
    votes = [(e["rater"], e["pair"]) for e in read_votes(study.folder / VOTES) if e["event"] == "vote"]
    assert len(votes) == len(set(votes)) == 12


def test_undo_brings_the_pair_back(server):
    _, first = call(server.port, "enter", rater="ann")
    assert not first["can_undo"]
    vote = {"rater": "ann", "criterion": "overall", "choice": "1"}
    _, second = call(server.port, "vote", task=first["task"]["task"], **vote)
    assert second["can_undo"]
    _, back = call(server.port, "undo", rater="ann", task=second["task"]["task"])
    assert back["task"]["task"] == first["task"]["task"] and back["task"]["clips"] == first["task"]["clips"]
    status, _ = call(server.port, "undo", rater="ann", task=second["task"]["task"])  # pressed twice
    assert status == 409


def test_nothing_that_is_sent_tells_the_arms(server, study):
    """Neither folders, arms, file names, checksums, nor dates are in any body or header; sides have fresh names."""
    names = set()
    secrets = {"teacher", "student", ".mp4", "last-modified", "etag", "tornado", str(study.folder)}
    secrets |= {side.sha256[:12] for pair in study.pairs for side in (pair.a, pair.b)} | {p.id for p in study.pairs}
    for rater in ("ann", "bob"):
        status, headers, body = ask(server.port, "POST", "/api/enter", {"rater": rater})
        for path in json.loads(body)["task"]["clips"]:
            names.add(path)
            clip_status, clip_headers, _ = ask(server.port, "GET", path)
            assert clip_status == 200 and clip_headers["Content-Type"] == "video/mp4"
            headers |= clip_headers
        for path in ("/", "/page.js", "/page.css"):
            page_status, page_headers, page = ask(server.port, "GET", path)
            assert page_status == 200
            headers, body = headers | page_headers, body + page
        sent = (json.dumps(headers) + body.decode()).lower()
        assert [secret for secret in secrets if secret.lower() in sent] == []
    assert len(names) == 4


def test_the_page_loads_nothing_from_elsewhere(server):
    for path in ("/", "/page.js", "/page.css"):
        _, headers, body = ask(server.port, "GET", path)
        assert not re.search(rb"(https?:)?//[a-z]", body.replace(b"http://www.w3.org", b""))
        assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_clips_come_in_parts(server, study):
    _, state = call(server.port, "enter", rater="ann")
    path = state["task"]["clips"][0]
    _, _, whole = ask(server.port, "GET", path)
    status, headers, part = ask(server.port, "GET", path, Range="bytes=10-99")
    assert status == 206 and part == whole[10:100]
    assert headers["Content-Range"] == f"bytes 10-99/{len(whole)}"


@pytest.mark.parametrize(
    "path",
    ["/clip/../study.json", "/clip/..%2fstudy.json", "/../../etc/passwd", "//etc/passwd", "/study.json", "/votes.jsonl",
     "/clip/" + "0" * 24, "/page.html/../server.py", "/server.py", "/api/", "/clip/%2e%2e/votes.jsonl"],
)  # fmt: skip
def test_no_path_leads_out(server, path):
    status, _, body = ask(server.port, "GET", path)
    assert status == 404 and b"secret" not in body and b"root:" not in body


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"}, {"Content-Type": "text/plain"},
])  # fmt: skip
def test_strangers_cannot_vote(server, study, headers):
    _, state = call(server.port, "enter", rater="ann")
    vote = {"rater": "ann", "task": state["task"]["task"], "criterion": "overall", "choice": "1"}
    status, _, _ = ask(server.port, "POST", "/api/vote", vote, **headers)
    assert status in (403, 415)
    assert not any(event["event"] == "vote" for event in read_votes(study.folder / VOTES))
    if "Content-Type" not in headers:
        assert ask(server.port, "GET", state["task"]["clips"][0], **headers)[0] == 403


def test_the_page_itself_may_be_linked_to_and_tunnelled(server):
    linked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(server.port, "GET", "/", **linked)[0] == 200
    tunnelled = {"Host": "localhost:9999", "Origin": "http://localhost:9999"}
    assert ask(server.port, "POST", "/api/enter", {"rater": "ann"}, **tunnelled)[0] == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"ann"', b"\xff", b'{"rater": 3}', b'{"rater": ""}', b"{}",
                                  json.dumps({"rater": "x" * 41}).encode(), b'{"rater": "simulated-1"}'])  # fmt: skip
def test_nonsense_is_refused(server, body):
    status, headers, answer = ask(server.port, "POST", "/api/enter", body, Content_Type="application/json")
    assert status == 400 and json.loads(answer)["error"]


def test_nonsense_votes_are_refused(server):
    _, state = call(server.port, "enter", rater="ann")
    task = state["task"]["task"]
    assert call(server.port, "vote", rater="ann", task=task, criterion="beauty", choice="1")[0] == 400
    assert call(server.port, "vote", rater="ann", task=task, criterion="overall", choice=["1"])[0] == 400
    assert call(server.port, "vote", rater="ann", task="x", criterion="overall", choice="1")[0] == 409
    huge = b'{"rater": "' + b"x" * 100_000
    try:
        assert ask(server.port, "POST", "/api/enter", huge, Content_Type="application/json")[0] in (400, 413)
    except (ConnectionError, http.client.HTTPException):
        pass  # refused by hanging up
    assert call(server.port, "enter", rater="ann")[0] == 200


def test_only_this_machine_can_reach_it(server):
    assert server.url.startswith("http://127.0.0.1:")
    assert {sock.getsockname()[0] for sock in server._sockets} == {"127.0.0.1"}


def test_a_taken_port_is_named(server, study):
    with pytest.raises(UserError, match=f"port {server.port} cannot be used"):
        VoteServer(server._ballot, server.port)


def test_a_vote_that_cannot_be_saved_is_not_confirmed(server, monkeypatch):
    _, state = call(server.port, "enter", rater="ann")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    vote = {"rater": "ann", "task": state["task"]["task"], "criterion": "overall", "choice": "1"}
    status, body = call(server.port, "vote", **vote)
    assert status == 500 and "could not be saved" in body["error"]
    monkeypatch.undo()
    assert call(server.port, "vote", **vote)[0] == 200


SERVE = "import sys; from alice_repro.evaluation.preference.serve import vote; vote(*sys.argv[1:4], port=0, votes=2)"


def start(two_arms, out):
    """The command in a process of its own; gives the process and its port."""
    command = [sys.executable, "-c", SERVE, *map(str, two_arms), str(out)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_heed_ctrl_c
    )
    for line in process.stdout:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            return process, int(found[1])
    raise AssertionError(f"no address was printed, exit code {process.wait()}")


def _heed_ctrl_c():
    """A shell's background job ignores it, and so would what the tests start there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_votes_survive_kill_9_and_ctrl_c_writes_the_results(two_arms, tmp_path):
    out = tmp_path / "out"
    open_study(two_arms, out, votes=2)
    process, port = start(two_arms, out)
    judged = []
    _, state = call(port, "enter", rater="ann")
    for _ in range(3):
        judged.append(state["task"]["task"])
        _, state = call(port, "vote", rater="ann", task=judged[-1], criterion="overall", choice="1")
    process.send_signal(signal.SIGKILL)
    process.wait()
    with (out / VOTES).open("a") as file:
        file.write('{"event": "vo')  # what a kill in the middle of a write would leave

    process, port = start(two_arms, out)
    _, again = call(port, "enter", rater="ann")
    assert again["task"] == state["task"]  # the same pair, number, sides and names of clips
    while (task := again["task"]) is not None:
        judged.append(task["task"])
        _, again = call(port, "vote", rater="ann", task=task["task"], criterion="overall", choice="2")
    assert len(judged) == len(set(judged)) == 6
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=30)[0]
    assert process.returncode == 0 and "Traceback" not in printed
    assert "# Preferences of people" in printed and (out / "shares.csv").exists()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2)


def test_a_second_page_on_one_study_is_refused(two_arms, study, server):
    command = [sys.executable, "-c", SERVE, *map(str, two_arms), str(study.folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "is open already" in done.stderr


def test_a_study_moved_away_still_has_its_votes(server, study, tmp_path):
    _, state = call(server.port, "enter", rater="ann")
    call(server.port, "vote", rater="ann", task=state["task"]["task"], criterion="overall", choice="1")
    shutil.copytree(study.folder, tmp_path / "elsewhere")
    assert len(read_votes(tmp_path / "elsewhere" / VOTES)) == 3  # shown, vote, shown

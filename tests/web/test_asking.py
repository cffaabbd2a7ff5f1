"""Answers are kept, limits hold, failures are overcome or reported."""

from __future__ import annotations

import json
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from local_server import MISBEHAVIOURS, LocalServer

from jojo.web.asking import Manners, Request, ask_all, retry_after
from jojo.web.journal import Journal


def word_of(path, body):
    return path.rpartition("/")[2]


@pytest.fixture
def server():
    """A server whose answer to a word is the word reversed; words in "no..." are unknown."""

    def answer(word):
        return (404, {}) if word.startswith("no") else (200, {"reversed": word[::-1]})

    with LocalServer(answer, word_of) as running:
        yield running
        running.shutdown()


def ask(server, words, journal, **manners):
    requests = {w: Request(f"{server.url}/{w}") for w in words}
    ask_all(requests, journal, Manners(**({"retry_seconds": 0.01} | manners)), what="words")


def test_answers_are_kept_and_never_asked_for_again(server, tmp_path):
    path = tmp_path / "raw" / "answers.sqlite"
    with Journal(path) as journal:
        ask(server, ["hello", "nowhere"], journal)
        assert journal["hello"] == {"reversed": "olleh"}
        assert journal["nowhere"] is None
    with Journal(path) as journal:
        ask(server, ["hello", "nowhere", "new"], journal)
        assert [journal[w] for w in ("hello", "nowhere", "new")] == [
            {"reversed": "olleh"},
            None,
            {"reversed": "wen"},
        ]
    assert server.asked == {"hello": 1, "nowhere": 1, "new": 1}


@pytest.mark.parametrize("concurrency", [1, 5])
def test_every_kind_of_trouble_is_overcome(server, tmp_path, concurrency):
    words = [f"word{i}" for i in range(3 * len(MISBEHAVIOURS))]
    server.misbehave = lambda word: MISBEHAVIOURS[int(word[4:]) % len(MISBEHAVIOURS)]
    with Journal(tmp_path / "answers.sqlite") as journal:
        ask(server, words, journal, concurrency=concurrency)
        assert [journal[w]["reversed"] for w in words] == [w[::-1] for w in words]
    assert set(server.answered.values()) == {1}
    assert sum(server.asked.values()) > len(words)


def test_the_limit_holds_over_restarts_and_threads(server, tmp_path):
    server.most, server.window_seconds = 8, 0.25
    limit = {"most": 8, "window_seconds": 0.25}
    server.misbehave = lambda word: "500" if word.endswith("3") else ""
    for run in range(3):
        with Journal(tmp_path / "answers.sqlite") as journal:
            ask(server, [f"w{run}x{i}" for i in range(7)], journal, concurrency=4, **limit)
    assert server.excess == 0
    assert sum(server.asked.values()) == 24


def test_a_request_counts_towards_the_limit_until_it_has_ended(server, tmp_path):
    """However long ago it was sent: it may reach the server at any moment until then."""
    arrived, last_is_here = {}, threading.Event()

    def answer(word):
        arrived[word] = time.monotonic()
        if word == "c":
            last_is_here.set()
        if word == "slow":
            last_is_here.wait(10)
        return 200, word

    server.answer = answer
    with Journal(tmp_path / "answers.sqlite") as journal:
        ask(server, ["slow", *"abc"], journal, concurrency=2, most=2, window_seconds=0.2)
    assert arrived["b"] - arrived["a"] >= 0.2
    assert arrived["c"] - arrived["b"] >= 0.2


@pytest.mark.parametrize("old", [False, True])
def test_a_request_that_a_kill_left_open_counts_as_just_sent(server, tmp_path, old):
    path = tmp_path / "answers.sqlite"
    if old:  # in the format of before
        path.with_suffix(".jsonl").write_text('{"sent": 1}\n' * 8)
    else:
        with Journal(path) as journal, journal.transaction() as connection:
            connection.execute("INSERT INTO requests VALUES ('a thread', 1)")
    with Journal(path) as journal:
        began = time.monotonic()
        ask(server, ["hello"], journal, most=8 if old else 1, window_seconds=0.3)
    assert time.monotonic() - began >= 0.3  # nobody knows when it arrived


def test_sleep_is_kept_between_calls(server, tmp_path):
    with Journal(tmp_path / "answers.sqlite") as journal:
        began = time.monotonic()
        ask(server, ["a", "b", "c"], journal, sleep_seconds=0.1)
    assert time.monotonic() - began >= 0.2


def test_retry_after_is_honoured(server, tmp_path):
    def misbehave(word):
        misbehave.asked_at = time.monotonic()
        return "429"

    server.misbehave = misbehave
    server.answer = lambda word: (200, time.monotonic())
    with Journal(tmp_path / "answers.sqlite") as journal:
        ask(server, ["hello"], journal, retry_seconds=0.0)
        assert journal["hello"] - misbehave.asked_at >= 0.02


def test_retry_after_reads_seconds_and_dates():
    assert retry_after("7") == 7
    assert retry_after("-7") == 0
    assert 58 < retry_after(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("soon") is None
    assert retry_after(None) is None


def test_a_server_that_stays_in_trouble_ends_the_run_with_what_is_saved(
    server, tmp_path, complaint
):
    server.misbehave = lambda word: ""
    with Journal(tmp_path / "answers.sqlite") as journal:
        ask(server, ["hello"], journal)
        server.answer = lambda word: (503, {})
        told = complaint(ask, server, ["hello", "world"], journal, attempts=4, retry_seconds=0)
        assert journal["hello"] == {"reversed": "olleh"}
    assert "HTTP 503" in told
    assert "1 of 2 words are answered and saved: run it again to go on" in told
    assert server.asked["world"] == 3  # none of this run was answered: it is not tried for long


def test_an_unreachable_server_is_reported_soon(server, tmp_path, complaint):
    server.shutdown()
    server.server_close()
    with Journal(tmp_path / "answers.sqlite") as journal:
        told = complaint(ask, server, ["hello"], journal)
    assert "connection refused: is it running?" in told
    assert "0 of 1 words are answered" in told


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_refusal_ends_the_run_at_once(server, tmp_path, complaint, status):
    server.answer = lambda word: (status, {"error": "no such key sk-secret"})
    with Journal(tmp_path / "answers.sqlite") as journal:
        told = complaint(ask, server, ["hello"], journal, key="sk-secret")
    assert f"HTTP {status}" in told
    assert "no such key ***" in told
    assert server.heads[0]["Authorization"] == "Bearer sk-secret"
    assert sum(server.asked.values()) == 1
    assert "sk-secret" not in told
    assert b"sk-secret" not in (tmp_path / "answers.sqlite").read_bytes()


def test_a_server_that_asks_for_an_hour_is_left_alone(server, tmp_path, complaint, monkeypatch):
    monkeypatch.setattr("jojo.web.asking.retry_after", lambda header: 3600.0)
    server.misbehave = lambda word: "429"
    with Journal(tmp_path / "answers.sqlite") as journal:
        assert "for 3,600 s" in complaint(ask, server, ["hello"], journal)
    assert server.asked["hello"] == 1


def test_answers_in_the_old_format_are_imported_once(tmp_path, complaint):
    path, old = tmp_path / "answers.sqlite", tmp_path / "answers.jsonl"
    records = [
        {"settings": {"temperature": 0.3}},
        {"sent": 1},
        {"ended": time.time(), "question": "one", "answer": "ä" * 50},
        {"question": "none", "answer": None},
    ]
    whole = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()
    for torn in (b"", whole[:1], whole[:-1]):
        path.unlink(missing_ok=True)
        old.write_bytes(whole + torn)
        with Journal(path) as journal:
            assert (len(journal), journal["one"], journal["none"]) == (2, "ä" * 50, None)
            assert journal.settings == {"temperature": 0.3}
            assert "sent" not in journal
            journal["one"] = "new"
        with Journal(path) as journal:
            assert journal["one"] == "new"
        assert {p.name for p in tmp_path.iterdir()} == {path.name, "answers.jsonl.imported"}
    old.write_bytes(whole + b'{"quest\n')
    assert "line 5 is damaged" in complaint(Journal, path)
    assert old.exists()
    old.unlink()
    with Journal(path) as journal:
        assert journal["one"] == "new"  # a damaged file is not half imported


def test_another_file_in_place_of_the_journal_is_named(tmp_path, complaint):
    path = tmp_path / "answers.sqlite"
    path.write_text("this is not a database, and long enough to be seen as none\n" * 9)
    assert f"cannot open {path}: file is not a database" in complaint(Journal, path)


def test_what_is_acknowledged_is_on_the_disk(tmp_path):
    with Journal(tmp_path / "answers.sqlite") as journal, journal.transaction() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_second_run_is_told_that_there_is_one(tmp_path, complaint):
    path = tmp_path / "answers.sqlite"
    with Journal(path):
        assert f"another run is writing {path}" in complaint(Journal, path)
    Journal(path).close()  # free again


def test_many_threads_write(tmp_path):
    with Journal(tmp_path / "answers.sqlite") as journal:

        def write(name):
            for i in range(20):
                journal[f"{name}{i}"] = name * 500

        threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(journal[f"{n}{i}"] == n * 500 for n in "abcd" for i in range(20))
        assert len(journal) == 80


def test_a_full_disk_leaves_a_whole_journal(tmp_path):
    path = tmp_path / "answers.sqlite"
    with Journal(path) as journal:
        journal["one"] = 1
        with journal.transaction() as connection:
            connection.execute("PRAGMA max_page_count = 1")  # as many as there are
        with pytest.raises(OSError, match=r"answers.sqlite: database or disk is full"):
            journal["two"] = "2" * 100_000
    with Journal(path) as journal:
        assert len(journal) == 1
        assert "two" not in journal


def test_a_page_in_place_of_the_api_is_not_kept_as_an_unknown_word(tmp_path):
    class Gone(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<html>no such app</html>")

        def log_message(self, *_): ...

    with HTTPServer(("127.0.0.1", 0), Gone) as server, Journal(tmp_path / "a.sqlite") as journal:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        request = Request(f"http://anna:secret@127.0.0.1:{server.server_port}/hello")
        with pytest.raises(ValueError, match="no such app") as told:
            ask_all({"hello": request}, journal, Manners(), what="words")
        assert "hello" not in journal
        assert "secret" not in str(told.value)
        server.shutdown()


def test_what_is_verbose_goes_to_stderr(server, tmp_path, capfd):
    requests = {w: Request(f"{server.url}/{w}") for w in ("hello", "nowhere")}
    with Journal(tmp_path / "a.sqlite") as journal:
        ask_all(requests, journal, Manners(), what="words", verbose=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "hello: found" in err
    assert "nowhere: nothing" in err

"""A journal of answers that survives a kill or a power cut at any moment, for jojo/web/asking.py.

    with Journal(Path("raw/answers.sqlite")) as journal:
        journal["hello"] = [...]
        journal["hello"]

An SQLite database: an answer is on the disk once it is set. Answers in the format of earlier
versions, JSON lines in a file beside it (answers.jsonl), are imported once.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from jojo.command import say

SETTINGS = (
    "locking_mode = EXCLUSIVE",  # until the journal is closed
    "journal_mode = WAL",
    "synchronous = FULL",  # what is committed is on the disk,
    "fullfsync = ON",  # on a Mac too
)
TABLES = """
CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, answer TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS settings (id INTEGER PRIMARY KEY CHECK (id = 1), settings TEXT NOT NULL);
-- the layout of pyrate_limiter's SQLiteBucket: milliseconds, and no name once a request has ended
CREATE TABLE IF NOT EXISTS requests (name TEXT, item_timestamp INTEGER NOT NULL);
"""
SET_ANSWER = "INSERT OR REPLACE INTO answers VALUES (?, ?)"
SET_SETTINGS = "INSERT OR REPLACE INTO settings VALUES (1, ?)"


class Journal(AbstractContextManager):
    """Answers by question, as JSON in an SQLite database; one process at a time.

    An answer of None: there is no such thing (404).
    """

    def __init__(self, path: Path):
        self.path, self.lock = path, threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = _connect(path)
        try:
            if (old := path.with_suffix(".jsonl")).exists():
                self._import(old)
        except BaseException:
            self.close()
            raise

    def _import(self, old: Path) -> None:
        """Take over a file of JSON lines: answers, settings, and when requests ended."""
        records = []
        lines = old.read_bytes().split(b"\n")[:-1]  # without what a kill tore at the end
        for number, line in enumerate(lines, start=1):
            try:
                records.append(json.loads(line))
            except ValueError:
                raise ValueError(
                    f"{old}, line {number} is damaged: mend it, or delete the file and ask "
                    "everything again"
                ) from None
        answers = [(r["question"], json.dumps(r["answer"])) for r in records if "question" in r]
        settings = [(json.dumps(r["settings"]),) for r in records if "settings" in r]
        requests = [(None, int(r["ended"] * 1000)) for r in records if "ended" in r]
        requests += [("unfinished", 0)] * (sum("sent" in r for r in records) - len(requests))
        with self.transaction() as connection:
            connection.executemany(SET_ANSWER, answers)
            connection.executemany(SET_SETTINGS, settings)
            connection.executemany("INSERT INTO requests VALUES (?, ?)", requests)
        os.replace(old, f"{old}.imported")
        Path(f"{old}.lock").unlink(missing_ok=True)
        say(f"imported the {len(self):,} answers of {old}, which is now {old.name}.imported")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction of one thread, on the disk at the end; OSError where that fails."""
        with self.lock:
            try:
                with self._connection:
                    yield self._connection
            except sqlite3.Error as error:
                raise OSError(f"{self.path}: {error}") from error

    def _one(self, query: str, *values: object) -> object:
        """The one value that `query` asks for, or None."""
        with self.transaction() as connection:
            row = connection.execute(query, values).fetchone()
            return row and row[0]

    def __setitem__(self, question: str, answer: object) -> None:
        with self.transaction() as connection:
            connection.execute(SET_ANSWER, [question, json.dumps(answer)])

    def __getitem__(self, question: str) -> object:
        answer = self._one("SELECT answer FROM answers WHERE question = ?", question)
        if answer is None:
            raise KeyError(question)
        return json.loads(answer)

    def __contains__(self, question: str) -> bool:
        return self._one("SELECT 1 FROM answers WHERE question = ?", question) is not None

    def __len__(self) -> int:
        return self._one("SELECT count(*) FROM answers")

    @property
    def settings(self) -> dict:
        return json.loads(self._one("SELECT settings FROM settings") or "{}")

    def agree(self, settings: dict) -> None:
        """Note what the answers depend on; ValueError if those here depend on something else."""
        old = self.settings
        if not len(self):
            with self.transaction() as connection:
                connection.execute(SET_SETTINGS, [json.dumps(settings)])
        elif old != settings:
            changed = (n for n in sorted(settings | old) if old.get(n) != settings.get(n))
            told = ", ".join(f"{n} was {old.get(n)!r} and is {settings.get(n)!r}" for n in changed)
            raise ValueError(
                f"{len(self):,} answers in {self.path} were made with other settings ({told}): "
                "give the old ones to go on, or `reset` to start over"
            )

    def clear(self) -> None:
        """Discard the answers; the requests still count towards a server's limit."""
        with self.transaction() as connection:
            connection.executescript("BEGIN; DELETE FROM answers; DELETE FROM settings; COMMIT")

    def delete(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        with self.lock:
            self._connection.close()

    def __exit__(self, *_) -> None:
        self.close()


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=0, check_same_thread=False)
        for setting in SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        connection.executescript(TABLES)
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise ValueError(f"another run is writing {path}: wait for it or stop it") from None
        raise ValueError(f"cannot open {path}: {error}") from None
    return connection

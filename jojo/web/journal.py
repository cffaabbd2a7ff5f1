"""A journal of answers that survives a kill at any moment, for jojo/web/asking.py.

    with Journal(Path("raw/answers.jsonl")) as journal:
        journal.append({"question": "hello", "answer": [...]})
        journal["hello"]

JSON lines, only ever appended to: one write and one sync for each answer. A last line that a kill
has torn is cut off when the journal is opened again.
"""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path


class Journal:
    """Answers by question in an append-only file of JSON lines; one process at a time.

    Answers stay on the disk and are read where they are needed. None: there is no such thing (404).
    `fresh`: what stands in the file is given up.
    """

    def __init__(self, path: Path, fresh: bool = False):
        from filelock import FileLock, Timeout

        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{path}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"another run is writing {path}: wait for it or stop it") from None
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._file = os.open(path, flags, 0o644)
        self._writing = threading.Lock()
        self._empty()
        try:
            self.clear() if fresh else self._read()
        except BaseException:
            self.close()
            raise

    def _empty(self) -> None:
        self.settings: dict | None = None
        self.ended: list[float] = []  # when requests ended, by the clock
        self.unfinished = 0  # requests of which that is not known
        self._places: dict[str, tuple[int, int]] = {}  # question -> offset and length of its line
        self._size = 0

    def _read(self) -> None:
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):  # torn by a kill: whoever wrote it never went on
                    os.ftruncate(self._file, self._size)
                    break
                try:
                    self._note(json.loads(line), len(line))
                except (ValueError, KeyError, TypeError, AttributeError):
                    raise ValueError(
                        f"{self.path}, line {number} is damaged: mend it, or delete the file and "
                        "ask everything again"
                    ) from None

    def _note(self, record: dict, length: int) -> None:
        if "settings" in record:
            self.settings = record["settings"]
        if "question" in record:
            self._places[record["question"]] = (self._size, length)
        if "sent" in record:
            self.unfinished += 1
        if "ended" in record:
            self.unfinished -= 1
            self.ended.append(float(record["ended"]))
        self._size += length

    def append(self, record: dict, sync: bool = True) -> None:
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        with self._writing:
            if (written := os.write(self._file, line)) != len(line):  # the disk is full
                os.ftruncate(self._file, self._size)
                raise OSError(
                    errno.ENOSPC, f"{written} of {len(line)} bytes written", str(self.path)
                )
            if sync:
                os.fsync(self._file)
            self._note(record, len(line))

    def agree(self, settings: dict) -> None:
        """Note what the answers depend on; ValueError where the journal was begun with other."""
        if not len(self):
            self.clear()
            self.append({"settings": settings})
        elif self.settings != settings:
            names = sorted(settings.keys() | self.settings.keys())
            told = ", ".join(
                f"{name} was {self.settings.get(name)!r} and is {settings.get(name)!r}"
                for name in names
                if self.settings.get(name) != settings.get(name)
            )
            raise ValueError(
                f"{len(self):,} answers in {self.path} were made with other settings ({told}): "
                "give the old ones to go on, or --reset to start over"
            )

    def __contains__(self, question: str) -> bool:
        return question in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, question: str) -> object:
        offset, length = self._places[question]
        with open(self.path, "rb") as file:
            file.seek(offset)
            return json.loads(file.read(length))["answer"]

    def clear(self) -> None:
        os.ftruncate(self._file, 0)
        self._empty()

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)
        self.close()
        Path(f"{self.path}.lock").unlink(missing_ok=True)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_) -> None:
        self.close()

"""A local server that answers like the real ones, misbehaves like them, and kills its client.

`Runs` starts recipes in a process that has everything loaded already, so that a run costs a fork
(eleven take a second). It scales the waiting times down, which no flag of a recipe can.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from jojo.files import ROOT

MISBEHAVIOURS = ("500", "429", "429 date", "503", "drop", "cut", "slow", "no JSON", "")


class LocalServer(ThreadingHTTPServer):
    """`answer(question)` gives (status, object). It records everything that happened."""

    daemon_threads = True

    def __init__(self, answer, question_of, misbehave=lambda question: ""):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.question_of, self.misbehave = answer, question_of, misbehave
        self.most, self.window_seconds = 10**9, 1.0
        self.asked, self.answered = Counter(), Counter()  # by question
        self.arrivals: deque[float] = deque()
        self.excess = 0  # requests beyond the limit
        self.heads: list[dict[str, str]] = []
        self.bodies: list[dict] = []
        self.kills: deque[tuple[int, str, float]] = deque()  # after how many requests, when, delay
        self.since_kill = 0
        self.killed = 0
        self.kill = lambda: None
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def kill_ten_times(self, kill, seed: int) -> None:
        """From here on: before it answers, amid an answer, or some time after a request began."""
        rng = random.Random(seed)
        self.kill, self.since_kill = kill, 0
        phases = [("before", 0.0), ("body", 0.0), ("before", 0.02)]
        self.kills.extend((rng.randint(1, 4), *rng.choice(phases)) for _ in range(10))

    def arrive(self) -> tuple[bool, tuple[str, float] | None]:
        """Whether the limit is broken, and how the client is to be killed now."""
        with self.lock:
            now = time.time()
            while self.arrivals and self.arrivals[0] <= now - self.window_seconds:
                self.arrivals.popleft()
            self.arrivals.append(now)
            over = len(self.arrivals) > self.most
            self.excess += over
            self.since_kill += 1
            if self.kills and self.since_kill >= self.kills[0][0]:
                self.since_kill = 0
                return over, self.kills.popleft()[1:]
            return over, None

    def handle_error(self, request, client_address):
        pass  # clients that are killed leave


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer takes 40 ms
    wbufsize = 1 << 16
    server: LocalServer

    def do_GET(self):
        self._handle(self.path, None)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._handle(self.path, body)

    def _handle(self, path, body):
        server = self.server
        over, kill = server.arrive()
        server.heads.append(dict(self.headers))
        if body:
            server.bodies.append(body)
        question = server.question_of(path, body)
        server.asked[question] += 1
        if kill and kill[0] == "before":
            self._kill(kill[1])
            return
        how = server.misbehave(question) if server.asked[question] == 1 else ""
        if over:
            how = "429"
        if kill:
            how = "cut"
        if how == "slow":
            time.sleep(0.03)
        if how == "drop":
            self.close_connection = True
            return
        if how in ("500", "503", "429", "429 date"):
            wait = {
                "429": {"Retry-After": "0.02"},
                "429 date": {"Retry-After": self.date_time_string()},
            }
            self._send(int(how[:3]), b"{}", wait.get(how, {}))
            return
        if how == "no JSON":
            self._send(200, b"<html>busy</html>")
            return
        status, answer = server.answer(question)
        data = json.dumps(answer).encode()
        if how == "cut":
            self._send(status, data, length=len(data) + 9)
            if kill:
                self._kill(kill[1])
            self.close_connection = True
            return
        with server.lock:
            server.answered[question] += 1
        self._send(status, data)

    def _send(self, status, data, headers=(), length=None):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length or len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _kill(self, delay):
        time.sleep(delay)
        self.server.kill()
        self.server.killed += 1
        self.close_connection = True

    def log_message(self, *_):
        pass


# Runs in a process of its own: one line of JSON per run comes in, pid and exit code go out.
DRIVER = """
import json, os, runpy, sys
import pyrate_limiter, requests, tokenizer, tqdm, tyro
import jojo.data.bins, jojo.data.pipeline, jojo.data.inspect.quality, jojo.web.journal
from jojo.data.public import dictionary, knowledge, squad
from jojo.web import asking

tokenizer.encode("ready")
for line in sys.stdin:
    run = json.loads(line)
    pid = os.fork()
    if not pid:
        devnull = os.open(os.devnull, os.O_RDWR)
        os.dup2(devnull, 0), os.dup2(devnull, 1)
        os.dup2(os.open(run["stderr"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        os.environ.pop("OPENAI_BASE_URL", None)
        os.environ |= run["environ"]
        limits = {{"most": {most}, "window_seconds": {window}, "retry_seconds": 0.01}}
        dictionary.API_LIMITS = limits
        sys.argv = run["argv"]
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as stop:
            os._exit(stop.code or 0)
        os._exit(70)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@dataclass
class Runs:
    """Runs of recipes, one at a time; `last` is what the newest said on stderr."""

    stderr: object
    most: int = 450
    window_seconds: float = 300.0
    last: str = ""
    process: subprocess.Popen = field(init=False)
    pid: int | None = None

    def __post_init__(self):
        code = DRIVER.format(most=self.most, window=self.window_seconds)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._started = threading.Event()

    def start(self, recipe: str, *argv: object, **environ: str) -> None:
        self._started.clear()
        self.stderr.unlink(missing_ok=True)
        command = [str(ROOT / "data" / recipe), *map(str, argv)]
        run = {"argv": command, "stderr": str(self.stderr), "environ": environ}
        self.process.stdin.write(json.dumps(run) + "\n")
        self.process.stdin.flush()
        self.pid = int(self.process.stdout.readline())
        self._started.set()

    def wait(self) -> int:
        code = int(self.process.stdout.readline())
        self.pid = None
        self.last = self.stderr.read_text() if self.stderr.exists() else ""
        return code

    def run(self, recipe: str, *argv: object, **environ: str) -> int:
        self.start(recipe, *argv, **environ)
        return self.wait()

    def kill(self, number: int = signal.SIGKILL) -> None:
        self._started.wait()
        with suppress(ProcessLookupError, TypeError):
            os.kill(self.pid, number)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def output(folder, name: str) -> dict[str, object]:
    """What a recipe wrote, without the time."""
    manifest = json.loads((folder / f"{name}.json").read_text())
    manifest.pop("created")
    files = {kind: (folder / f"{name}-{kind}").read_bytes() for kind in ("train.bin", "val.bin")}
    return files | {"manifest": manifest}

"""The commands run as a person runs them, and small models for them to open.

`call` runs a command in a process of its own, with its own arguments, streams and exit code. That
process is a fork of one that has torch and our modules loaded, so a run costs tenths of a second.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jojo.data.bins import DatasetWriter
from jojo.files import ROOT
from jojo.text.template import encode_batch
from jojo.train.config import TrainConfig
from jojo.train.run import train

SMALL = {
    "preset": "tiny",
    "n_layer": 2,
    "n_head": 2,
    "n_embd": 32,
    "n_inner": 64,
    "block_size": 48,
    "batch_size": 4,
    "warmup_iters": 2,
    "head_lr": 0.03,
    "sample_interval": 0,
    "compile": False,
}

ENVIRON = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

# One line of JSON per run comes in; pid and, later, exit code go out. No thread may have been
# started before the fork: one thread of torch, and nothing of tokie. What is forked leaves the
# loop and ends as any program does.
FORKING = """
import gc, json, os, runpy, sys
{imports}
gc.collect()
gc.freeze()
asked, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
for line in asked:
    pid = os.fork()
    if not pid:
        break
    print(pid, file=answers, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=answers, flush=True)
else:
    os._exit(0)
run = json.loads(line)
for number, path in enumerate(run["streams"]):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND if number else os.O_RDONLY)
    os.dup2(file, number)
    os.close(file)
os.environ.clear()
os.environ.update(run["environ"])
os.chdir(run["cwd"])
sys.argv = run["argv"]
sys.path[0] = os.path.dirname(sys.argv[0])
del asked, answers, line, pid, run, number, path, file
runpy.run_path(sys.argv[0], run_name="__main__")
"""
IMPORTS = """
import torch
import jojo.chat.session, jojo.data.own.recipe, jojo.data.prepare, jojo.data.recipes
import jojo.train.run, tokenizer
torch.set_num_threads(1)
tokenizer.reference()
"""


class Forks:
    """Starts commands, one at a time, in forks of a process that has done `imports`."""

    def __init__(self, imports: str = IMPORTS):
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKING.format(imports=imports)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # what `poll` looks at is the pipe
            cwd=ROOT,
            env=os.environ | ENVIRON,
        )
        self.pid, self.code = 0, None
        atexit.register(self.process.communicate)

    def start(
        self,
        script: Path,
        *arguments: object,
        stdin: str | Path = os.devnull,
        stdout: str | Path = os.devnull,
        stderr: str | Path = os.devnull,
        cwd: Path | None = None,
        **environ: str,
    ) -> Forks:
        assert self.pid == 0, "one is running"
        run = {
            "argv": [str(script), *map(str, arguments)],
            "streams": [str(stdin), str(stdout), str(stderr)],
            "environ": os.environ | ENVIRON | environ,
            "cwd": str(cwd or Path.cwd()),
        }
        self.process.stdin.write(json.dumps(run).encode() + b"\n")
        self.pid, self.code = int(self.process.stdout.readline()), None
        return self

    def poll(self, seconds: float = 0) -> int | None:
        """The exit code, or None while it runs."""
        if self.pid and select.select([self.process.stdout], [], [], seconds)[0]:
            self.pid, self.code = 0, int(self.process.stdout.readline())
        return self.code

    def wait(self, seconds: float = 120) -> int:
        if self.poll(seconds) is None:
            self.kill()
            raise TimeoutError(f"not done in {seconds} s")
        return self.code

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()


@functools.cache
def forks() -> Forks:
    """The one of this process, with torch."""
    return Forks()


def call(
    verb: str, *arguments, stdin: str = "", cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory() as folder:
        streams = {name: Path(folder, name) for name in ("stdin", "stdout", "stderr")}
        streams["stdin"].write_text(stdin, encoding="utf-8")
        code = forks().start(ROOT / verb, *arguments, **streams, cwd=cwd, **environ).wait()
        out, err = (streams[n].read_text(encoding="utf-8") for n in ("stdout", "stderr"))
    return subprocess.CompletedProcess([verb, *arguments], code, out, err)


ASKED, SAID = "Hello, how are you today?", "Fine, and you?"


def complaint(verb: str, *arguments, code: int = 1) -> str:
    """Stderr of a command that must fail with one line and no traceback."""
    done = call(verb, *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr
    return done.stderr


def trained(folder: Path, templates: Sequence[str]) -> Path:
    """`folder` with a small dataset of each template and a model that knows its one exchange."""
    said = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": SAID}]
    for template in templates:
        with DatasetWriter(folder / "data", template, template=template) as writer:
            ids = encode_batch([said[1:] if template == "text" else said], template)[0]
            for i in range(120):
                writer.add("val" if i % 10 == 0 else "train", ids)
            writer.commit(licence="none", records_in=120)
        known = {"dataset": template, "data_dir": folder / "data", "out_dir": folder / "models"}
        assert train(TrainConfig(**SMALL, **known, max_iters=90), "test") == 0
    return folder

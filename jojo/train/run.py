"""A training run from its start, or from where it was stopped, to its end, by one process."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path

from jojo.command import say
from jojo.models import checkpoint, pretrained
from jojo.train.config import TrainConfig
from jojo.train.loop import Loop
from jojo.train.plan import describe, make_plan
from jojo.train.trainer import Trainer


def train(
    config: TrainConfig, script: str, asked: object | None = None, closing: bool = True
) -> int:
    """Run or resume a training run; returns the exit code.

    `script` and `asked`, its settings (by default `config`), are noted in the checkpoints. Without
    `closing` the files are not named at the end: the caller will rename them.
    """
    files = checkpoint.RunFiles(config.out_dir, config.run)
    made_by = {"script": script, "settings": given(asked or config)}
    with held(files):
        return _train(config, files, made_by, closing)


def given(config: object) -> dict:
    """The settings that differ from their defaults, as plain values."""
    found = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            found |= given(value)
        elif value != field.default:
            found[field.name] = _plain(value)
    return found


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


@contextmanager
def held(files: checkpoint.RunFiles) -> Iterator[None]:
    """Let one process at a time train a run; ValueError if another one does already."""
    from filelock import FileLock, Timeout

    files.out_dir.mkdir(parents=True, exist_ok=True)
    path = files.out_dir / f".{files.run_name}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"run {files.run_name!r} is being trained by another process: wait for it, or choose "
            "another `run_name`"
        ) from None
    try:
        yield
    finally:
        if os.name != "nt":  # there filelock deletes it, and an open file cannot be deleted
            path.unlink(missing_ok=True)
        lock.release()


def _train(config: TrainConfig, files: checkpoint.RunFiles, made_by: dict, closing: bool) -> int:
    if (done := check_earlier_run(config, files)) is not None:
        return done
    began = time.monotonic()
    for source in pretrained.chain(config.base) if config.base else ():
        files.check_not_of(Path(source).expanduser())
    trainer = Trainer(config)
    if config.resume and files.unfinished():
        trainer.compile()
        trainer.restore(files.load_resume())
        describe(trainer)
        say(f"resuming {config.run} after step {trainer.step:,} of {trainer.schedule.max_iters:,}")
    else:
        if config.resume:
            say(f"run {config.run!r} has nothing to resume: starting it")
        describe(trainer)
        make_plan(trainer, began)
        trainer.startup = time.monotonic() - began
        if config.overwrite:
            files.remove_all()
    loop = Loop(trainer, files, made_by, began - trainer.elapsed, closing)
    return loop.run()


def check_earlier_run(
    config: TrainConfig, files: checkpoint.RunFiles, flag: str = "`run_name`"
) -> int | None:
    """Exit code 0 if this run is done and only to be resumed, None if it may start or go on.

    ValueError if an earlier run is in the way. `flag`: what gives a run its name.
    """
    if config.overwrite:
        return None
    last = next(files.milestones(), None)
    if files.unfinished():
        if not config.resume:
            raise ValueError(
                f"run {config.run!r} is unfinished ({files.resume}): add `resume` to go on, "
                f"`overwrite` to start anew, or choose another {flag}"
            )
    elif last and config.resume:
        path = shlex.quote(str(last))
        say(f"run {config.run!r} is done: python gen.py {path} --interactive")
        return 0
    elif last:
        raise ValueError(
            f"run {config.run!r} is done ({last}): add `overwrite` to train anew, or "
            f"choose another {flag}"
        )
    return None

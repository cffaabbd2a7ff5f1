"""The training loop: every run, whatever it starts from, goes through here.

Writes models/<run><step>.pt, <run>-best.pt, <run>.jsonl, <run>.png and, until the run is done,
<run>-resume.pt.
"""

from __future__ import annotations

import os
import shlex
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jojo.command import duration, say
from jojo.models import checkpoint, lora, provenance
from jojo.train.plan import replan
from jojo.train.progress import Progress
from jojo.train.samples import sample_conversation
from jojo.train.validation import Validation, loss_name

if TYPE_CHECKING:
    from jojo.train.trainer import Trainer


class Loop:
    """Steps a trainer to the end of its schedule, measuring, sampling and saving on the way."""

    def __init__(
        self,
        trainer: Trainer,
        files: checkpoint.RunFiles,
        made_by: dict,
        began: float,
        closing: bool = True,
    ):
        self.trainer, self.files, self.made_by, self.began = trainer, files, made_by, began
        self.closing = closing
        c = trainer.config
        self.made_from = made_from(trainer)
        self.validation = Validation(
            trainer.data.ids["val"],
            trainer.template,
            trainer.block_size,
            c.eval_tokens,
            trainer.micro_batch,
        )
        self.tokens = c.batch_size * trainer.block_size
        peak = trainer.machine.peak_flops()
        self.mfu_per_token = trainer.flops_per_token() / peak if peak else None
        self.loss = float("nan")
        self.best_model: dict | None = None  # the best weights, not yet on disk
        self.stopped_by = 0
        self.save_seconds, self.saved_at = 0.0, time.monotonic()

    def run(self) -> int:
        t = self.trainer
        self.files.out_dir.mkdir(parents=True, exist_ok=True)
        every = 1 if t.config.patience else t.config.save_interval
        self.files.check_free(t.schedule.max_iters, every)
        with self.signals():
            self.progress = Progress(self.files, t.step, t.schedule.max_iters, t.config.tensorboard)
            try:
                if not t.step:
                    self.save_resume()
                while not t.is_done() and not self.stopped_by:
                    self.one_step()
                return self.finish() if t.is_done() else self.stop()
            finally:
                self.progress.close()

    def one_step(self) -> None:
        t = self.trainer
        t0 = time.perf_counter()
        self.loss = t.gradients(t.step)
        if not np.isfinite(self.loss):
            raise ValueError(
                f"the loss is {self.loss} at step {t.step + 1}: lower `learning_rate` (now "
                f"{t.config.rate:g}) and start anew with `overwrite`"
            )
        metrics = t.update(t.step)
        t.step += 1
        t.elapsed = time.monotonic() - self.began
        seconds = time.perf_counter() - t0
        self.progress.step(
            t.step, self.tokens, seconds, self.mfu_per_token, loss=self.loss, **metrics
        )
        self.look_and_save()

    def look_and_save(self) -> None:
        """What is due after this step: validation, a sample, a checkpoint, the resume file."""
        t, c = self.trainer, self.trainer.config
        if t.step % c.eval_interval == 0 or t.is_done():
            self.evaluate()
        last = t.is_done()
        if c.sample_interval and t.step % c.sample_interval == 0:
            self.progress.write(sample_conversation(t.model, t.data, t.machine))
        if t.step % c.save_interval == 0 or last:
            checkpoint.save(self.files.milestone(t.step), self.model_content())
        if c.time_budget and t.step == t.schedule.decay_start and not last:
            replan(t)
            self.progress.replan(t.schedule.max_iters)
            self.save_resume()  # a resumed run must keep what the clock decided
        # at most a twentieth of the time goes into saving
        wait = max(c.resume_seconds, 20 * self.save_seconds) if c.resume_seconds else 0.0
        if time.monotonic() - self.saved_at >= wait:
            self.save_resume()

    def evaluate(self) -> None:
        t = self.trainer
        t.val_loss = self.validation.loss(t.model, t.machine, t.weigh)
        self.progress.validation(t.step, t.val_loss, time.monotonic() - self.began)
        t.stale += 1
        if t.val_loss < t.best:
            t.best, t.stale = t.val_loss, 0
            self.best_model = self.model_content()

    def model_content(self) -> dict:
        t = self.trainer
        resolved = {"max_iters": t.schedule.max_iters, "learning_rate": t.config.rate}
        resolved["optimizer"] = t.config.chosen_optimizer
        as_adapter = lora.is_adapted(t.model) and not t.config.lora_merge
        return checkpoint.model_content(
            t.model,
            template=t.template,
            base=t.base if as_adapter else None,
            step=t.step,
            metrics={"loss": self.loss, "val_loss": t.val_loss, "best_val_loss": t.best},
            run=t.config.run,
            dataset=t.data.manifest.name,
            data_hash=t.data.manifest.hash,
            data=provenance.of_data(t.data.manifest),
            made_from=self.made_from,
            **self.made_by,
            train_config=t.config.settings() | resolved,
        )

    def save_resume(self) -> None:
        t0 = time.monotonic()
        self.save_best()
        self.files.save_resume(self.trainer.state())
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - t0

    def save_best(self) -> None:
        """The best weights go to disk with the resume file, so that a kill loses neither."""
        if self.best_model is not None:
            checkpoint.save(self.files.best, self.best_model)
            self.best_model = None

    def finish(self) -> int:
        t = self.trainer
        self.save_best()
        self.progress.draw()
        self.progress.close()
        self.files.remove_resume()
        path = self.files.milestone(t.step)
        where = f" in {self.files.best}" if self.closing else ""
        best = f", best {t.best:.4f}{where}" if t.best < (t.val_loss or 0) else ""
        name = loss_name(t.data.manifest.holds_out)
        val = "" if t.val_loss is None else f": {name} {t.val_loss:.4f}{best}"
        if t.step < t.schedule.max_iters:
            say(f"stopped early: no lower {name} in {t.stale} validations (`patience`)")
        peak = f"peak memory {t.machine.used_bytes() / 2**30:.1f} GiB"
        say(f"done in {duration(t.elapsed)}, {peak}{val}")
        if self.closing:
            quoted = shlex.quote(str(path))
            say(f"saved {path}; talk to it: python gen.py {quoted} --interactive")
        return 0

    def stop(self) -> int:
        self.save_resume()
        self.progress.draw()
        self.progress.close()
        say(
            f"stopped and saved after step {self.trainer.step:,}; go on with the same command and "
            "`resume`"
        )
        return 128 + self.stopped_by

    @contextmanager
    def signals(self):
        """Ctrl+C and SIGTERM end the run after the step at hand; a second one ends it at once."""

        def note(number, _frame):
            if self.stopped_by:
                raise KeyboardInterrupt
            self.stopped_by = number
            # print is not reentrant
            os.write(2, b"\nstopping after this step (Ctrl+C again: at once)\n")

        old = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


def made_from(trainer: Trainer) -> list[dict]:
    """What the model started from, what that started from, and so on; empty for a new model."""
    if trainer.base is None:
        return []
    named = Path(trainer.config.base).expanduser()  # an adapter that is trained further itself
    return provenance.made_from(str(named) if named.is_file() else trainer.base["source"])

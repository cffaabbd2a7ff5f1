"""The training loop: every run, whatever it starts from, goes through here.

    python train.py config/laptop.toml

Reads data/<dataset>-{train,val}.bin; writes models/<run><step>.pt, <run>-best.pt, <run>.jsonl,
<run>.png and, until the run is done, <run>-resume.pt. Step k is a pure function of the state
after step k-1, the data and the seed, so a run that was killed and resumed ends in the same
weights, bit for bit, as one that was not.
"""

from __future__ import annotations

import math
import os
import signal
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from jojo import bins, checkpoint, device, planning
from jojo.command import is_out_of_memory, say
from jojo.config import DEFAULT_PRESET, TrainConfig
from jojo.evaluate import Validation, target_weights
from jojo.loss import ActiveEmbedding, ActiveHead, cross_entropy, softmax_step
from jojo.optim import Optimizers, Schedule, clip_gradients
from jojo.progress import Progress
from jojo.samples import sample_conversation
from model import GPT, PRESETS, GPTConfig

# Settings that may differ between a run and its resumption: they do not touch the weights.
FREE_SETTINGS = {
    *("resume", "overwrite", "data_dir", "out_dir", "run_name", "tensorboard", "resume_seconds"),
    *("data_path", "me"),  # the hash of what they gave is compared instead
    *("eval_interval", "eval_tokens", "sample_interval", "save_interval"),
    *("device", "dtype", "compile"),  # what they come to is compared instead
}


class Trainer:
    """A model, its data and its optimizers. `step` counts the optimizer steps done."""

    def __init__(self, config: TrainConfig):
        self.config = config
        self.machine = device.choose(config.device, config.dtype)
        self.data = bins.open_dataset(config.dataset, config.data_dir)
        self.template = self.data.manifest.template
        if config.loss_on == "assistant" and self.template == "text":
            raise ValueError(
                f"--loss_on assistant: {config.dataset} is plain text, it has no assistant turns; "
                "use --loss_on all"
            )
        device.repeatable(self.machine.device)
        device.seed_everything(config.seed)
        self.model = build_model(config, self.data.ids["train"]).to(self.machine.device)
        block_size = self.model.config.block_size
        self.batches = bins.Batches(
            self.data.ids["train"], self.template, block_size, config.batch_size, config.seed
        )
        self.micro_batch = config.micro_batch_size or config.batch_size
        self.softmax = softmax_step
        self.step = 0
        self.best = float("inf")
        self.val_loss: float | None = None
        self.elapsed = 0.0  # seconds since the run began, over all sittings
        self.startup = 0.0  # of which before the first step
        self.how = "eager"
        self.schedule = Schedule(1, 0, 1, 1.0)
        self.reset_optimizers()

    def reset_optimizers(self) -> None:
        self.optimizers = Optimizers(self.model, self.config)
        self.scaler = torch.amp.GradScaler(
            self.machine.device.type, enabled=self.machine.dtype == torch.float16
        )

    def compile(self) -> None:
        """Compile the blocks and the softmax, where that works; say so where it does not."""
        if not self.config.compile:
            return
        if problem := device.compiler_problem(self.machine.device):
            say(f"torch.compile does not work here ({problem}): going on without, more slowly")
            return
        for block in self.model.h:
            block.compile(dynamic=False)
        self.softmax = torch.compile(softmax_step, dynamic=False)
        self.how = "compiled"

    def circumstances(self) -> str:
        """What equal weights depend on beside data, seed and settings."""
        m = self.machine
        dtype = str(m.dtype).removeprefix("torch.")
        return f"{m.name()}, {dtype}, {self.how}, torch {torch.__version__}"

    def weigh(self, windows: torch.Tensor) -> torch.Tensor:
        return target_weights(windows, self.template, self.config.loss_on)

    def micro_step(
        self, windows: torch.Tensor, weights: torch.Tensor, total: float
    ) -> torch.Tensor:
        """Forward and backward of some windows; returns their share of the step's loss."""
        ids = windows.to(self.machine.device, non_blocking=True)
        with self.machine.autocast():
            h = self.model.hidden(ids[:, :-1])
        h, weights = h.to(self.machine.dtype), weights.to(self.machine.device)
        loss = cross_entropy(h, self.model.lm_head, ids[:, 1:], weights, self.softmax) / total
        self.scaler.scale(loss).backward()
        return loss.detach()

    def gradients(self, step: int) -> float:
        """Gradients of the batch of `step`, averaged over its learned tokens; returns the loss.

        Out of memory, it tries again with half the micro-batch.
        """
        windows = torch.from_numpy(self.batches.ids_of(step))  # (B, T + 1)
        weights = self.weigh(windows)
        total = max(1.0, weights.sum().item())
        while True:
            try:
                parts = zip(
                    windows.split(self.micro_batch), weights.split(self.micro_batch), strict=True
                )
                losses = [self.micro_step(w, m, total) for w, m in parts]
                return torch.stack(losses).sum().item()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.micro_batch == 1:
                    raise
            self.optimizers.zero_grad()
            self.micro_batch = self.micro_batch // 2
            if self.machine.device.type == "cuda":
                torch.cuda.empty_cache()
            say(f"out of memory: going on with --micro_batch_size {self.micro_batch}")

    def update(self, step: int) -> dict[str, float]:
        """The optimizer's part of a step; returns the rate's factor and the gradient norm."""
        factor = self.schedule(step)
        self.optimizers.set_rate(factor)
        for optimizer in self.optimizers.all:
            self.scaler.unscale_(optimizer)
        if isinstance(self.model.lm_head, ActiveHead):
            self.model.lm_head.share_gradient()
        norm = clip_gradients(self.model, self.config.grad_clip)
        if math.isfinite(norm):  # else float16 overflowed: the scaler lowers its scale
            for optimizer in self.optimizers.all:
                self.scaler.step(optimizer)
        self.scaler.update()
        self.optimizers.zero_grad()
        return {"lr_factor": round(factor, 6), "grad_norm": norm if math.isfinite(norm) else None}

    def state(self) -> dict:
        """Everything the next step depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": device.random_state(self.machine.device),
            "schedule": asdict(self.schedule),
            "step": self.step,
            "best": self.best,
            "val_loss": self.val_loss,
            "elapsed": self.elapsed,
            "startup": self.startup,
            "circumstances": self.circumstances(),
            "micro_batch": self.micro_batch,
            "data_hash": self.data.manifest.hash,
            "settings": settings_of(self.config),
        }

    def restore(self, state: dict) -> None:
        """Take up a run where `state` left it; ValueError where it was another run."""
        if state["data_hash"] != self.data.manifest.hash:
            raise ValueError(
                f"dataset {self.config.dataset} changed since this run began: --overwrite starts "
                "anew with the new data"
            )
        old, new = state["settings"], settings_of(self.config)
        differing = [n for n in new if old.get(n) != new[n]]
        if differing:
            was = ", ".join(f"--{n} {old.get(n)} (now {new[n]})" for n in differing[:4])
            raise ValueError(f"--resume needs the settings the run began with: {was}")
        self.model.load_state_dict(state["model"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.scaler.load_state_dict(state["scaler"])
        device.restore_random_state(state["random"], self.machine.device)
        self.schedule = Schedule(**state["schedule"])
        for name in ("step", "best", "val_loss", "elapsed", "startup", "micro_batch"):
            setattr(self, name, state[name])
        if state["circumstances"] != self.circumstances():
            say(
                f"note: the run began on {state['circumstances']}; this is "
                f"{self.circumstances()}: it goes on, but not to the same weights bit for bit"
            )


def build_model(config: TrainConfig, train_ids: np.ndarray) -> GPT:
    """A new model of the configured shape, holding the active vocabulary alone where it can."""
    settings = PRESETS[config.preset or DEFAULT_PRESET] | config.model_settings()
    model = GPT(GPTConfig(**settings))
    if model.config.arch == "jojo" and not model.config.tie_embeddings:
        in_use = torch.from_numpy(bins.ids_in_use(train_ids)).long()
        model.lm_head = ActiveHead(model.config.n_embd, model.config.vocab_size, in_use)
        model.wte = ActiveEmbedding(model.wte, in_use)
    return model


def settings_of(config: TrainConfig) -> dict:
    """What a resumed run must agree on, as plain values."""
    return {n: _plain(v) for n, v in asdict(config).items() if n not in FREE_SETTINGS}


def _plain(value):
    return str(value) if isinstance(value, Path) else value


def train(config: TrainConfig, command: str) -> int:
    """Run or resume a training run; returns the exit code."""
    files = checkpoint.RunFiles(config.out_dir, config.run)
    if (done := _check_earlier_run(config, files)) is not None:
        return done
    began = time.monotonic()
    trainer = Trainer(config)
    if config.resume and files.unfinished():
        trainer.compile()
        trainer.restore(files.load_resume())
        planning.describe(trainer)
        say(f"resuming {config.run} after step {trainer.step:,} of {trainer.schedule.max_iters:,}")
    else:
        if config.resume:
            say(f"run {config.run!r} has nothing to resume: starting it")
        planning.describe(trainer)
        planning.make_plan(trainer, began)
        trainer.startup = time.monotonic() - began
        if config.overwrite:
            files.remove_all()
    loop = Loop(trainer, files, command, began - trainer.elapsed)
    return loop.run()


def _check_earlier_run(config: TrainConfig, files: checkpoint.RunFiles) -> int | None:
    """What stands in the way of (re)starting this run: an exit code, an error, or nothing."""
    if config.overwrite:
        return None
    last = files.milestones()[-1:]
    if files.unfinished():
        if not config.resume:
            raise ValueError(
                f"run {config.run!r} is unfinished ({files.resume}): add --resume to go on, "
                "--overwrite to start anew, or choose another --run_name"
            )
    elif last and config.resume:
        say(f"run {config.run!r} is done: python gen.py {last[0]} --interactive")
        return 0
    elif last:
        raise ValueError(
            f"run {config.run!r} is done ({last[0]}): add --overwrite to train anew, or "
            "choose another --run_name"
        )
    return None


class Loop:
    """Steps a trainer to the end of its schedule, measuring, sampling and saving on the way."""

    def __init__(self, trainer: Trainer, files: checkpoint.RunFiles, command: str, began: float):
        self.trainer, self.files, self.command, self.began = trainer, files, command, began
        c, model = trainer.config, trainer.model
        self.validation = Validation(
            trainer.data.ids["val"],
            trainer.template,
            model.config.block_size,
            c.eval_tokens,
            trainer.micro_batch,
        )
        self.tokens = c.batch_size * model.config.block_size
        peak = trainer.machine.peak_flops()
        flops = model.train_flops_per_token(len(model.lm_head.weight))
        self.mfu_per_token = flops / peak if peak else None
        self.loss = float("nan")
        self.best_model: dict | None = None  # the best weights, not yet on disk
        self.stopped_by = 0
        self.save_seconds, self.saved_at = 0.0, time.monotonic()

    def run(self) -> int:
        t = self.trainer
        self.files.out_dir.mkdir(parents=True, exist_ok=True)
        self.files.check_free(t.schedule.max_iters, t.config.save_interval)
        with self.signals():
            self.progress = Progress(self.files, t.step, t.schedule.max_iters, t.config.tensorboard)
            try:
                if not t.step:
                    self.save_resume()
                while t.step < t.schedule.max_iters and not self.stopped_by:
                    self.one_step()
                done = t.step >= t.schedule.max_iters
                return self.finish() if done else self.stop()
            finally:
                self.progress.close()

    def one_step(self) -> None:
        t = self.trainer
        t0 = time.perf_counter()
        self.loss = t.gradients(t.step)
        if not np.isfinite(self.loss):
            raise ValueError(
                f"the loss is {self.loss} at step {t.step + 1}: lower --learning_rate (now "
                f"{t.config.rate:g}) and start anew with --overwrite"
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
        last = t.step == t.schedule.max_iters
        if t.step % c.eval_interval == 0 or last:
            self.evaluate()
        if c.sample_interval and t.step % c.sample_interval == 0:
            self.progress.write(sample_conversation(t.model, t.data))
        if t.step % c.save_interval == 0 or last:
            checkpoint.save(self.files.milestone(t.step), self.model_content())
        if c.time_budget and t.step == t.schedule.decay_start and not last:
            planning.replan(t)
            self.progress.replan(t.schedule.max_iters)
            self.save_resume()  # the clock decided: it must not decide again
        # at most a twentieth of the time goes into saving
        wait = max(c.resume_seconds, 20 * self.save_seconds) if c.resume_seconds else 0.0
        if time.monotonic() - self.saved_at >= wait:
            self.save_resume()

    def evaluate(self) -> None:
        t = self.trainer
        t.val_loss = self.validation.loss(t.model, t.machine, t.weigh)
        self.progress.validation(t.step, t.val_loss, time.monotonic() - self.began)
        if t.val_loss < t.best:
            t.best = t.val_loss
            self.best_model = self.model_content()

    def model_content(self) -> dict:
        t = self.trainer
        resolved = {"max_iters": t.schedule.max_iters, "learning_rate": t.config.rate}
        return checkpoint.model_content(
            t.model,
            template=t.template,
            step=t.step,
            metrics={"loss": self.loss, "val_loss": t.val_loss, "best_val_loss": t.best},
            run=t.config.run,
            dataset=t.data.manifest.name,
            data_hash=t.data.manifest.hash,
            command=self.command,
            train_config=settings_of(t.config) | resolved,
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
        best = f", best {t.best:.4f} in {self.files.best}" if t.best < (t.val_loss or 0) else ""
        val = "" if t.val_loss is None else f"validation loss {t.val_loss:.4f}{best}; "
        say(f"done in {planning.duration(t.elapsed)}: {val}saved {path}")
        say(f"talk to it: python gen.py {path} --interactive")
        return 0

    def stop(self) -> int:
        self.save_resume()
        self.progress.draw()
        self.progress.close()
        say(
            f"stopped and saved after step {self.trainer.step:,}; go on with the same command and "
            "--resume"
        )
        return 128 + self.stopped_by

    @contextmanager
    def signals(self):
        """Ctrl+C and SIGTERM end the run after the step at hand; a second one ends it at once."""

        def note(number, _frame):
            if self.stopped_by:
                raise KeyboardInterrupt
            self.stopped_by = number
            os.write(2, b"\nstopping after this step (again: at once)\n")  # print is not reentrant

        old = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

"""What bench.py measures of preparing and training: ours and a plain reference."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from jojo import device
from jojo.train.config import TrainConfig
from jojo.train.plan import make_plan

REFERENCE_RATE = 1e-3  # AdamW's peak rate of the plain loop: the better of 1e-3 and 3e-3


# ---------------------------------------------------------------- prepare


def sample_stories(path: Path, megabytes: int, source: Path | None) -> None:
    """Write `megabytes` of stories to `path`, hardly two alike.

    The halves of those in `source` (else of chit-chat strung together) are put together anew.
    """
    halves = _halves(source)
    size, shift = 0, 0
    with open(path, "wb") as f:
        while size < megabytes * 1_000_000 and shift < len(halves):
            others = halves[shift:] + halves[:shift]
            pairs = zip(halves, others, strict=True)
            # a story is the first half of one and the second of another, each pair once
            size += f.write(b"".join([a + b + b"\n<|endoftext|>\n" for (a, _), (_, b) in pairs]))
            shift += 1


def _halves(source: Path | None) -> list[tuple[bytes, bytes]]:
    """Each story cut at the sentence end nearest to its middle."""
    from jojo.data.chitchat.talk import generate_chats

    if source is None:
        texts = [" ".join(m["content"] for m in c.messages) for c in generate_chats(16_000, seed=0)]
        stories = [" ".join(texts[i : i + 8]) for i in range(0, len(texts), 8)]
    else:
        text = source.read_text(encoding="utf-8")
        stories = [story.strip() for story in text.split("<|endoftext|>")[:-1]]
    cuts = [(story, story.find(" ", story.find(". ", len(story) // 2) + 1)) for story in stories]
    halves = [(s[:cut].encode(), s[cut:].encode()) for s, cut in cuts if cut > 0]
    if not halves:
        raise ValueError(f"{source} holds no whole story: <|endoftext|> closes each")
    return halves


def prepare(path: Path, fast: bool) -> dict:
    """Prepare the stories in `path`, read to written; `fast`: with tokie where it is right."""
    import tokenizer
    from jojo.data import recipes
    from jojo.data.prepare import prepare as run

    recipe = recipes.load("story")
    if not fast:
        tokenizer.bulk = lambda: None
    tokenizer.encode_batch(["warm up " * 20_000])
    with tempfile.TemporaryDirectory() as out_dir:
        options = recipe.options(input=path, out_dir=Path(out_dir))
        t0 = time.perf_counter()
        manifest = run(recipe, options)
        seconds = time.perf_counter() - t0
    tokens = sum(manifest.tokens.values())
    megabytes = path.stat().st_size / 1e6
    return {
        "seconds": seconds,
        "megabytes_per_second": megabytes / seconds,
        "tokens_per_second": tokens / seconds,
        "tokens": tokens,
    }


# ---------------------------------------------------------------- train


def train_ours(config: TrainConfig, steps: int) -> dict:
    """Tokens/s of train.py's loop, after compilation and warm-up: the median of `steps` steps."""
    from jojo.train.trainer import Trainer

    trainer = Trainer(config)
    make_plan(trainer, time.monotonic())
    times = []
    for step in range(steps):
        t0 = time.perf_counter()
        trainer.gradients(step)
        trainer.update(step)
        trainer.machine.synchronize()
        times.append(time.perf_counter() - t0)
    tokens = config.batch_size * trainer.block_size
    seconds = statistics.median(times)
    result = {"tokens_per_second": tokens / seconds, "seconds_per_step": seconds}
    if peak := trainer.machine.peak_flops():
        flops = trainer.flops_per_token()
        result["mfu"] = flops * tokens / seconds / peak
    return result


class PlainLoop:
    """The reference: a GPT-2-style model, AdamW, cosine decay, float32, eager, the full softmax."""

    def __init__(self, config: TrainConfig, max_iters: int):
        from jojo.data import bins
        from jojo.train.trainer import new_model

        self.config, self.max_iters = config, max_iters
        self.machine = device.choose(config.device, "float32")
        self.data = bins.open_dataset(config.data_name, config.data_dir)
        torch.manual_seed(config.seed)
        self.model = new_model(replace(config, arch="gpt2")).to(self.machine.device)
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        rest = [p for p in self.model.parameters() if p.dim() < 2]
        groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=REFERENCE_RATE, betas=(0.9, 0.95))
        self.random = np.random.default_rng(config.seed)

    def step(self, step: int) -> float:
        warm = min(1.0, (step + 1) / 10)
        cosine = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.max_iters)))
        for group in self.optimizer.param_groups:
            group["lr"] = REFERENCE_RATE * warm * cosine
        T, ids = self.model.config.block_size, self.data.ids["train"]
        starts = self.random.integers(0, len(ids) - T - 1, self.config.batch_size)
        windows = np.stack([ids[s : s + T + 1] for s in starts]).astype(np.int64)
        windows = torch.from_numpy(windows).to(self.machine.device)
        logits = self.model(windows[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.machine.synchronize()
        return loss.item()


def train_plain(config: TrainConfig, steps: int) -> dict:
    loop = PlainLoop(config, steps)
    loop.step(0)
    times = []
    for step in range(1, steps):
        t0 = time.perf_counter()
        loop.step(step)
        times.append(time.perf_counter() - t0)
    tokens = config.batch_size * loop.model.config.block_size
    seconds = statistics.median(times)
    return {"tokens_per_second": tokens / seconds, "seconds_per_step": seconds}


def race_plain(config: TrainConfig, budget_seconds: float) -> dict:
    """The plain loop for a time budget; its validation loss at the end, on train.py's windows."""
    from jojo.train.validation import Validation, target_weights

    began = time.monotonic()
    loop = PlainLoop(config, 1)
    T = loop.model.config.block_size
    times = [_timed(loop.step, 0) for _ in range(3)][1:]
    loop = PlainLoop(config, int((budget_seconds - (time.monotonic() - began)) / min(times)))
    step = 0
    while time.monotonic() - began < budget_seconds:
        loop.step(step)
        step += 1
    validation = Validation(
        loop.data.ids["val"], loop.data.manifest.template, T, config.eval_tokens, 16
    )
    seconds = time.monotonic() - began
    loss = validation.loss(
        loop.model, loop.machine, lambda windows: target_weights(windows, "", "all")
    )
    tokens = step * config.batch_size * T
    return {
        "val_loss": loss,
        "seconds": seconds,
        "steps": step,
        "tokens_per_second": tokens / seconds,
    }


def race_ours(config: TrainConfig, budget: str, target: float) -> dict:
    """train.py for the same budget; when its validation loss was first at most `target`."""

    from jojo.models.checkpoint import RunFiles
    from jojo.train.progress import read_metrics
    from jojo.train.run import train

    with tempfile.TemporaryDirectory() as out_dir:
        config = replace(config, time_budget=budget, out_dir=Path(out_dir), run_name="race-")
        t0 = time.monotonic()
        train(config, "bench.py")
        seconds = time.monotonic() - t0
        rows = [r for r in read_metrics(RunFiles(Path(out_dir), "race-")) if "val_loss" in r]
    reached = next((r["seconds"] for r in rows if r["val_loss"] <= target), None)
    curve = [(r["seconds"], r["val_loss"]) for r in rows]
    return {
        "val_loss": rows[-1]["val_loss"],
        "seconds": seconds,
        "reached_seconds": reached,
        "curve": curve,
    }


def _timed(function: Callable, *arguments) -> float:
    t0 = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - t0

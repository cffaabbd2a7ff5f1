"""Measurements of bench.py: ours and a plain reference, each in a fresh process, side by side."""

from __future__ import annotations

import math
import multiprocessing
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
from jojo.config import TrainConfig
from jojo.export import hf
from model import GPT, PRESETS, GPTConfig

REFERENCE_RATE = 1e-3  # AdamW's peak rate of the plain loop: the better of 1e-3 and 3e-3


def apart(function: Callable[..., dict], *arguments) -> dict:
    """Call `function` in a process of its own; its peak memory is added to what it returns."""
    pool = multiprocessing.get_context("spawn").Pool(1)
    try:
        return pool.apply(_with_peak, (function, arguments))
    finally:
        pool.close()
        pool.join()


def _with_peak(function: Callable[..., dict], arguments: tuple) -> dict:
    result = function(*arguments)
    return {**result, "peak_memory_bytes": device.choose().used_bytes()}


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
    from jojo.sources.chitchat import generate

    if source is None:
        texts = [" ".join(m["content"] for m in c.messages) for c in generate(16_000, seed=0)]
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
    from jojo import recipes
    from jojo.prepare import prepare as run

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
    from jojo import planning
    from jojo.trainer import Trainer

    trainer = Trainer(config)
    planning.make_plan(trainer, time.monotonic())
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
        from jojo import bins
        from jojo.trainer import new_model

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
    from jojo.evaluate import Validation, target_weights

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

    from jojo.checkpoint import RunFiles
    from jojo.progress import read_metrics
    from jojo.trainer import train

    with tempfile.TemporaryDirectory() as out_dir:
        config = replace(config, time_budget=budget, out_dir=Path(out_dir), run_name="race-")
        t0 = time.monotonic()
        train(config, "bench.py race")
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


# ---------------------------------------------------------------- gen


def random_model(preset: str) -> GPT:
    """A model of a preset's size with random weights everywhere, the same ones each time."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(**PRESETS[preset])).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1 and name != "wte.weight":
                p.normal_(0.0, 0.02)
    return model


def gen_ours(preset: str, n_tokens: int, dtype: str) -> dict:
    """Greedy tokens/s of gen.py's sampler, one sequence; and seconds to the first token."""
    from jojo.sampling import SamplingOptions, for_inference, generate

    machine = device.choose("auto", "auto")
    model = random_model(preset).to(machine.device)
    for_inference(model, getattr(torch, dtype))
    options = SamplingOptions(temp=0.0, max_tokens=n_tokens)
    prompt = list(range(100, 116))
    times, ids = [time.perf_counter()], []
    for drawn in generate(model, prompt, options, torch.Generator()):
        times.append(time.perf_counter())
        ids += drawn
    steps = np.diff(times[1:])
    return {
        "tokens_per_second": (len(ids) - 1) / (times[-1] - times[1]),
        "first_token_seconds": times[1] - times[0],
        "median_token_seconds": float(np.median(steps)),
        "tokens": len(ids),
    }


@torch.inference_mode()
def gen_uncached(preset: str, n_tokens: int) -> dict:
    """Float32 decoding that reads the whole text again for each token, as nanoGPT does.

    Timed at nine lengths between the first and the last and integrated over all of them.
    """
    where = device.choose().device
    model = random_model(preset).to(where)
    lengths = np.linspace(16, 16 + n_tokens - 1, 9).astype(int)
    seconds = []
    for length in lengths:
        ids = torch.randint(0, 50000, (1, int(length)), device=where)
        seconds.append(min(_timed(model, ids) for _ in range(2)))
    each = np.interp(np.arange(16, 16 + n_tokens), lengths, seconds)
    return {"tokens_per_second": n_tokens / each.sum(), "tokens": n_tokens}


@torch.inference_mode()
def gen_transformers(preset: str, n_tokens: int) -> dict:
    """transformers' generate on the same weights, bfloat16, greedy."""
    where = device.choose().device
    theirs = as_transformers(random_model(preset)).to(where, torch.bfloat16)
    prompt = torch.arange(100, 116, device=where)[None]

    def generate(n: int) -> None:
        theirs.generate(prompt, max_new_tokens=n, min_new_tokens=n, do_sample=False, pad_token_id=0)

    generate(2)  # warm up
    short, long = _timed(generate, 1), _timed(generate, n_tokens)
    return {"tokens_per_second": (n_tokens - 1) / (long - short), "tokens": n_tokens}


def as_transformers(model: GPT):
    """The transformers model with the weights of `model`."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**hf.config_to_hf(model.config))
    theirs = AutoModelForCausalLM.from_config(config).eval()
    missing, unexpected = theirs.load_state_dict(
        hf.state_to_hf(model.state_dict(), model.config), strict=False
    )
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}  # a tied one
    return theirs

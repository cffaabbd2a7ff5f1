"""What a run will take, said before it starts: from real steps, not from tables."""

from __future__ import annotations

import copy
import math
import time
from typing import TYPE_CHECKING

import torch

from jojo import device
from jojo.command import duration, is_out_of_memory, say, seconds
from jojo.train.optim import Schedule

if TYPE_CHECKING:
    from jojo.train.trainer import Trainer

CPU_MICRO_BATCH_TOKENS = 4096  # more at once is no faster on a CPU
MEMORY_SHARE = 0.8  # of the free memory that a plan may fill
LONG_SECONDS = 3 * 3600  # on a CPU: worth a warning
MANY_EPOCHS = 20
PLACES = ("resume", "overwrite", "data_dir", "out_dir", "run_name", "dataset", "data_path")


def describe(trainer: Trainer) -> None:
    """Print model, data and settings."""
    c, model, m = trainer.config, trainer.model, trainer.data.manifest
    g = model.config
    if trainer.base:
        say(f"base     {c.base}")
    apart = [g.vocab_size - len(layer.weight) for layer in (model.lm_head, model.wte)]
    full = model.n_params() + sum(apart) * g.n_embd
    distinct = len(model.wte.weight) if any(apart) else None
    heads = f"{g.n_head} heads" + (
        f" ({g.n_kv_head} for keys and values)" if g.n_kv_head != g.n_head else ""
    )
    say(
        f"model    {g.arch}: {full / 1e6:.1f} M parameters, {g.n_layer} layers x {g.n_embd}, "
        f"{heads}, context {g.block_size}"
    )
    if c.lora_rank:
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        how = "4-bit base, " if c.load_in_4bit else ""
        number = f"{trained / 1e6:.2f} M" if trained >= 1e5 else f"{trained:,}"
        say(
            f"lora     {how}rank {c.lora_rank} on {', '.join(c.lora_target_names)}: "
            f"{number} parameters are trained ({100 * trained / full:.2f}%)"
        )
    ids = f" ({distinct:,} different)" if distinct else ""
    records = "documents" if trainer.template == "text" else "conversations"
    say(
        f"data     {m.name}: {m.tokens['train']:,} training tokens{ids}, "
        f"{m.conversations['train']:,} {records}, {m.tokens['val']:,} validation tokens"
    )
    hidden = set(PLACES)
    if not c.lora_rank:
        hidden |= {n for n in vars(c) if n.startswith(("lora_", "load_"))}
    if c.chosen_optimizer == "adamw":  # all learn at one rate
        hidden |= {"embedding_lr", "head_lr"}
    resolved = vars(c) | {"learning_rate": c.rate, "optimizer": c.chosen_optimizer}
    pairs = [f"{k}={v}" for k, v in resolved.items() if k not in hidden and v is not None]
    say(f"settings {' '.join(pairs)}")


def make_plan(trainer: Trainer, began: float) -> None:
    """Find the micro-batch, measure a step, set the schedule, and say what will happen."""
    c, m = trainer.config, trainer.machine
    weights = copy.deepcopy(trainer.weights())
    random = device.random_state(m.device)
    find_micro_batch(trainer)
    trainer.compile()
    step_seconds = measure_step(trainer)
    trainer.load_weights(weights)
    trainer.reset_optimizers()
    device.restore_random_state(random, m.device)
    windows = trainer.batches.windows_per_epoch()
    max_iters = c.max_iters
    if c.epochs is not None:
        max_iters = max(1, math.ceil(c.epochs * windows / c.batch_size))
    elif c.time_budget is not None:
        left = seconds(c.time_budget) - (time.monotonic() - began)
        max_iters = max(2, int(left / step_seconds))
    trainer.schedule = Schedule(
        max_iters=max_iters,
        warmup_iters=min(c.warmup_iters, max_iters),
        decay_iters=round(c.decay_fraction * max_iters),
        final_fraction=c.final_lr_fraction,
    )
    tokens = max_iters * c.batch_size * trainer.block_size
    epochs = max_iters * c.batch_size / windows
    total = step_seconds * max_iters
    say(
        f"machine  {trainer.circumstances()}, micro-batch {trainer.micro_batch} of {c.batch_size}, "
        f"{m.used_bytes() / 2**30:.1f} GiB used, {m.free_bytes() / 2**30:.1f} GiB free"
    )
    say(
        f"plan     {max_iters:,} steps of {c.batch_size} x {trainer.block_size} "
        f"tokens: {tokens / 1e6:,.1f} M in all, the dataset {epochs:.1f} times; "
        f"{step_seconds:.2f} s a step, about {duration(total)}"
    )
    train_tokens = trainer.data.manifest.tokens["train"]
    flag = "`max_iters`" if c.epochs is None else "`epochs`"
    if epochs > MANY_EPOCHS:
        say(
            f"warning: {train_tokens:,} tokens will be read {epochs:.0f} times; expect "
            f"overfitting: lower {flag}, or prepare more data"
        )
    laptop = f"python train.py config/laptop.toml --dataset {c.data_name} takes a few minutes"
    if m.device.type == "cpu" and total > LONG_SECONDS:
        say(
            f"warning: this model needs about {duration(total)} on this CPU; "
            + ("a smaller one takes less" if trainer.base else laptop)
        )


def find_micro_batch(trainer: Trainer) -> None:
    """Set the largest micro-batch that fits: estimated on a CPU, tried on a GPU."""
    c, block_size = trainer.config, trainer.block_size
    if c.micro_batch_size is not None:
        trainer.micro_batch = min(c.micro_batch_size, c.batch_size)
        return
    sizes = [n for n in range(c.batch_size, 0, -1) if c.batch_size % n == 0]
    if trainer.machine.device.type == "cpu":
        free = MEMORY_SHARE * trainer.machine.free_bytes() - _state_bytes(trainer)
        per_sequence = _activation_bytes(trainer) * block_size
        fits = [n for n in sizes if n * block_size <= CPU_MICRO_BATCH_TOKENS or n == 1]
        trainer.micro_batch = next((n for n in fits if n * per_sequence <= free), 0)
        if not trainer.micro_batch:
            need = per_sequence + _state_bytes(trainer)
            raise ValueError(
                f"this model needs about {need / 2**30:.1f} GiB of memory to train, "
                f"{trainer.machine.free_bytes() / 2**30:.1f} GiB are free: choose a smaller "
                + ("`block_size` or base" if trainer.base else "`preset` or `block_size`")
            )
        return
    for trainer.micro_batch in sizes:
        try:
            _try_micro_step(trainer)
            trainer.update(0)  # the optimizer's state needs memory too
            _try_micro_step(trainer)
        except RuntimeError as error:
            if not is_out_of_memory(error) or trainer.micro_batch == 1:
                raise
            trainer.reset_optimizers()
        else:
            break
        finally:
            trainer.optimizers.zero_grad()
            if trainer.machine.device.type == "cuda":
                torch.cuda.empty_cache()


def _state_bytes(trainer: Trainer) -> int:
    """Weights, gradients, optimizer states and the copy kept while measuring."""
    weights = [(p.numel() * p.element_size(), p.requires_grad) for p in trainer.model.parameters()]
    return sum(size * (5 if learned else 1) for size, learned in weights)


def _activation_bytes(trainer: Trainer) -> int:
    """What one token keeps for the backward pass, by the shapes in model.py."""
    g = trainer.model.config
    a_block = 12 * g.n_embd + 4 * g.head_dim * (g.n_head + g.n_kv_head) + 4 * g.n_inner
    return 4 * (g.n_layer * a_block + 6 * g.n_embd)


def _try_micro_step(trainer: Trainer) -> None:
    windows = torch.from_numpy(trainer.batches.ids_of(0)[: trainer.micro_batch])
    trainer.micro_step(windows, trainer.weigh(windows), float(windows.numel()))


def measure_step(trainer: Trainer) -> float:
    """Seconds of one optimizer step, from real micro-steps (the first one also compiles)."""
    if trainer.machine.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(trainer.machine.device)
    _try_micro_step(trainer)
    trainer.update(0)
    trainer.machine.synchronize()
    times = []
    while not times or (len(times) < 3 and sum(times) < 1.0):
        t0 = time.perf_counter()
        _try_micro_step(trainer)
        trainer.machine.synchronize()
        times.append(time.perf_counter() - t0)
    t0 = time.perf_counter()
    trainer.update(0)
    trainer.machine.synchronize()
    micro_steps = math.ceil(trainer.config.batch_size / trainer.micro_batch)
    return sorted(times)[len(times) // 2] * micro_steps + time.perf_counter() - t0


def replan(trainer: Trainer) -> None:
    """When the decay begins, fit the remaining steps to the remaining time."""
    left = seconds(trainer.config.time_budget) - trainer.elapsed
    a_step = (trainer.elapsed - trainer.startup) / trainer.step
    s = trainer.schedule
    s.decay_iters = max(1, int(left / a_step))
    s.max_iters = trainer.step + s.decay_iters

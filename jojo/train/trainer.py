"""A training run: a model, its data and its optimizers; one step; the state to resume from.

    python train.py config/laptop.toml
    python train.py --init_from gpt2 --lora_rank 16 --dataset chat --epochs 3

Reads data/<dataset>-{train,val}.bin. Step k is a pure function of the state after step k-1, the
data and the seed, so a run that was killed and resumed ends in the same weights, bit for bit, as
one that was not. jojo/train/loop.py takes the steps.
"""

from __future__ import annotations

import math
from dataclasses import asdict

import torch

from jojo import device
from jojo.command import is_out_of_memory, say
from jojo.data import bins
from jojo.data.batches import Batches
from jojo.models import lora
from jojo.models.active_vocabulary import ActiveHead, hold_active
from jojo.train import finetune
from jojo.train.config import DEFAULT_PRESET, TrainConfig
from jojo.train.loss import cross_entropy, softmax_step
from jojo.train.optim import Optimizers, Schedule, clip_gradients
from jojo.train.validation import target_weights
from model import GPT, PRESETS, GPTConfig


class Trainer:
    """A model, its data and its optimizers. `step` counts the optimizer steps done."""

    def __init__(self, config: TrainConfig):
        self.machine = device.choose(config.device, config.dtype)
        self.data = bins.open_dataset(config.data_name, config.data_dir)
        self.template = self.data.manifest.template
        if config.loss_on == "assistant" and self.template == "text":
            raise ValueError(
                f"`loss_on` assistant: {config.data_name} is plain text, it has no assistant "
                "turns; use `loss_on` all"
            )
        device.repeatable(self.machine.device)
        device.seed_everything(config.seed)
        self.base: dict[str, str] | None = None  # source and hash of the model it starts from
        if config.base is None:
            config = config.for_new_model()
            self.model = new_model(config)
        else:
            self.model, self.base, config = finetune.start_from(config, self.machine, self.data)
        self.config = config
        if not self.model.config.tie_embeddings:
            in_use = torch.from_numpy(bins.ids_in_use(self.data.ids["train"])).long()
            if config.lora_rank:
                finetune.warn_of_unlearned(self.model, in_use)
            else:
                hold_active(self.model, in_use)
        self.model.to(self.machine.device)
        self.block_size = config.block_size or self.model.config.block_size  # of the windows
        self.batches = Batches(
            self.data.ids["train"], self.template, self.block_size, config.batch_size, config.seed
        )
        self.micro_batch = config.micro_batch_size or config.batch_size
        self.softmax = softmax_step
        self.step = 0
        self.best = float("inf")
        self.stale = 0  # validations since the best one
        self.val_loss: float | None = None
        self.elapsed = 0.0  # seconds of the run, over all the times it was resumed
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
            say(f"torch.compile does not work here ({problem}): going on without it, more slowly")
            return
        for block in self.model.h:
            block.compile(dynamic=False)
        self.softmax = torch.compile(softmax_step, dynamic=False)
        self.how = "compiled"

    def circumstances(self) -> str:
        """What equal weights depend on besides data, seed and settings."""
        m = self.machine
        dtype = str(m.dtype).removeprefix("torch.")
        return f"{m.name()}, {dtype}, {self.how}, torch {torch.__version__}"

    def flops_per_token(self) -> float:
        return self.model.train_flops_per_token(len(self.model.lm_head.weight), self.block_size)

    def is_done(self) -> bool:
        return self.step >= self.schedule.max_iters or self.is_out_of_patience()

    def is_out_of_patience(self) -> bool:
        return self.config.patience is not None and self.stale >= self.config.patience

    def weights(self) -> dict[str, torch.Tensor]:
        """What training changes: all weights, or the adapters of an adapted model."""
        if lora.is_adapted(self.model):
            return lora.adapter_state(self.model)
        return self.model.state_dict()

    def load_weights(self, weights: dict[str, torch.Tensor]) -> None:
        if lora.is_adapted(self.model):
            lora.load_adapter_state(self.model, weights)
        else:
            self.model.load_state_dict(weights)

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

        If memory runs out, it tries again with half the micro-batch.
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
            say(f"out of memory: going on with `micro_batch_size` {self.micro_batch}")

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
            "model": self.weights(),
            "optimizers": self.optimizers.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": device.random_state(self.machine.device),
            "schedule": asdict(self.schedule),
            "step": self.step,
            "best": self.best,
            "stale": self.stale,
            "val_loss": self.val_loss,
            "elapsed": self.elapsed,
            "startup": self.startup,
            "circumstances": self.circumstances(),
            "micro_batch": self.micro_batch,
            "data_hash": self.data.manifest.hash,
            "base": self.base,
            "settings": self.config.settings(),
        }

    def restore(self, state: dict) -> None:
        """Go on from `state`; ValueError if it is of another run."""
        if state["data_hash"] != self.data.manifest.hash:
            raise ValueError(
                f"dataset {self.config.data_name} changed since this run began, or is another one: "
                "name the data it began with, or start anew with `overwrite`"
            )
        old, new = state["settings"], self.config.settings()
        differing = [n for n in new if old.get(n) != new[n]]
        if differing:
            was = ", ".join(f"`{n}` {old.get(n)} (now {new[n]})" for n in differing[:4])
            raise ValueError(f"`resume` needs the settings the run began with: {was}")
        was, now = (base["hash"] if base else None for base in (state["base"], self.base))
        if was != now:
            raise ValueError(
                f"`init_from` {self.config.init_from} is not the model this run began with: name "
                "that one, or start anew with `overwrite`"
            )
        self.load_weights(state["model"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.scaler.load_state_dict(state["scaler"])
        device.restore_random_state(state["random"], self.machine.device)
        self.schedule = Schedule(**state["schedule"])
        for name in ("step", "best", "stale", "val_loss", "elapsed", "startup", "micro_batch"):
            setattr(self, name, state[name])
        if state["circumstances"] != self.circumstances():
            say(
                f"note: the run began on {state['circumstances']}; this is "
                f"{self.circumstances()}: it goes on, but not to the same weights bit for bit"
            )


def new_model(config: TrainConfig) -> GPT:
    settings = PRESETS[config.preset or DEFAULT_PRESET] | config.model_settings()
    return GPT(GPTConfig(**settings))

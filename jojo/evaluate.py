"""How good a model is: the loss on validation data, and whether its replies stop and fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from jojo import bins, device, pretrained
from jojo.bins import Batches
from jojo.chat import Chat
from jojo.chatml import loss_mask
from jojo.command import say
from jojo.config import EvalConfig, check_seed
from jojo.device import Machine
from jojo.loss import cross_entropy
from jojo.sampling import SamplingOptions, for_inference
from model import GPT

if TYPE_CHECKING:
    from jojo.sources.chitchat import Prompt

EVAL_SEED = 0  # validation windows are the same in every run, whatever its seed


def target_weights(windows: torch.Tensor, template: str, loss_on: str) -> torch.Tensor:
    """Weight of each target of windows (B, T + 1): float32 (B, T), 1 where it counts, else 0."""
    if loss_on == "all":
        return torch.ones(windows[:, 1:].shape)
    return torch.from_numpy(loss_mask(windows.numpy(), template)[:, 1:]).float()


def loss_name(holds_out: bool) -> str:
    """What the loss on the validation split is, said to a person."""
    return "validation loss" if holds_out else "loss on the training data (nothing is held out)"


class Validation:
    """Always the same windows of the validation split: about `max_tokens` targets."""

    def __init__(self, ids, template: str, block_size: int, max_tokens: int, batch_size: int):
        block_size = min(block_size, len(ids) - 1)  # little data may be less than a block
        batches = Batches(ids, template, block_size, 1, EVAL_SEED)
        n = min(batches.windows_per_epoch(), max(1, max_tokens // block_size))
        windows = [batches.ids_of(i)[0] for i in range(n)]
        self.windows = torch.stack([torch.from_numpy(w) for w in windows])  # (n, block_size + 1)
        self.batch_size = batch_size

    @torch.no_grad()
    def loss(self, model: GPT, machine: Machine, weigh: Callable) -> float:
        """Mean negative log likelihood in nats per counted token.

        `weigh(windows)` gives each target's weight (B, T): 1 where it counts, else 0.
        """
        training = model.training
        model.eval()
        total, count = 0.0, 0.0
        for windows in self.windows.split(self.batch_size):
            weights = weigh(windows)
            ids = windows.to(machine.device)
            with machine.autocast(), torch.compiler.set_stance("force_eager"):
                h = model.hidden(ids[:, :-1])
            count += weights.sum().item()
            weights = weights.to(machine.device)
            h = h.to(machine.dtype)
            total += cross_entropy(h, model.lm_head, ids[:, 1:], weights).item()
        model.train(training)
        return total / max(count, 1.0)


@dataclass
class ReplyScore:
    """How replies to prompts of held-out phrasings did. Shares are of all prompts."""

    prompts: int
    ended: float  # share that ended by themselves within the limit
    right_intent: float
    tokens_mean: float
    wrong: list[dict]  # prompt, reply, intent of each reply that did not carry the intent


def score_replies(
    model: GPT, prompts: Sequence[Prompt], options: SamplingOptions, seed: int
) -> ReplyScore:
    """Let `model` answer each prompt once and judge the replies (see sources/chitchat.py)."""
    from jojo.sources.chitchat import judge

    generator = torch.Generator().manual_seed(seed)
    ended = tokens = 0
    wrong = []
    for prompt in prompts:
        chat = Chat(model, "chatml", options, generator)
        chat.messages = list(prompt.messages)
        reply = "".join(chat.answer())
        ended += chat.last.ended
        tokens += len(chat.last.ids)
        if not judge(reply, prompt.intent, prompt.slots):
            said = prompt.messages[-1]["content"]
            wrong.append({"intent": prompt.intent, "prompt": said, "reply": reply})
    n = len(prompts)
    return ReplyScore(n, ended / n, 1 - len(wrong) / n, tokens / n, wrong)


def measure(config: EvalConfig) -> dict:
    """Everything eval.py prints, as plain values."""
    machine = device.choose(config.device, "auto")
    model, facts = pretrained.load_model(config.checkpoint, machine.device, config.base)
    check_seed(config.seed)
    if config.prompts < 0 or config.eval_tokens < 1:
        raise ValueError("--prompts must be 0 or more, --eval_tokens 1 or more")
    name = config.dataset or facts.get("dataset")
    if not name:
        raise ValueError(f"{config.checkpoint} does not say what it was trained on: give --dataset")
    data = bins.open_dataset(name, config.data_dir)
    if not config.dataset and facts.get("data_hash", data.manifest.hash) != data.manifest.hash:
        say(
            f"note: dataset {name} is not what it was when this model was trained (prepared anew?):"
            " the loss is of what it holds now"
        )
    validation = Validation(
        data.ids["val"],
        data.manifest.template,
        model.config.block_size,
        config.eval_tokens,
        batch_size=16,
    )
    template = data.manifest.template
    result = {"dataset": name, "checkpoint": str(config.checkpoint)}
    result["holds_out"] = data.manifest.holds_out
    losses = {"all": "val_loss", "assistant": "assistant_val_loss"}
    for loss_on, key in losses.items():
        if loss_on == "all" or template != "text":
            weigh = partial(target_weights, template=template, loss_on=loss_on)
            result[key] = validation.loss(model, machine, weigh)
    if name == "chitchat" and facts["template"] == "chatml" and config.prompts:
        from jojo.sources.chitchat import held_out_prompts

        for_inference(model, machine.inference_dtype())  # as gen.py does
        prompts = held_out_prompts(config.seed, config.prompts)
        result["replies"] = asdict(score_replies(model, prompts, config, config.seed))
    return result

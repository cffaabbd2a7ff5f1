"""How good a model is: the loss on validation data, and whether its replies stop and fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from jojo import device
from jojo.chat.config import SamplingOptions
from jojo.chat.memory import Chat
from jojo.chat.sampling import for_inference
from jojo.command import say
from jojo.data import bins
from jojo.measure.config import EvalConfig
from jojo.models import pretrained
from jojo.train.validation import Validation, target_weights
from model import GPT

if TYPE_CHECKING:
    from jojo.data.chitchat.talk import Prompt


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
    """Let `model` answer each prompt once and judge the replies (jojo/data/chitchat/judge.py)."""
    from jojo.data.chitchat.judge import judge

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
    name = config.dataset or facts.get("dataset")
    if not name:
        raise ValueError(f"{config.checkpoint} does not say what it was trained on: give `dataset`")
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
        from jojo.data.chitchat.talk import held_out_prompts

        for_inference(model, machine.inference_dtype())  # as gen.py does
        prompts = held_out_prompts(config.seed, config.prompts)
        result["replies"] = asdict(score_replies(model, prompts, config, config.seed))
    return result

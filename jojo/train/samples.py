"""A short conversation with a model in training, to see how it is coming along."""

from __future__ import annotations

import numpy as np
import torch

from jojo.chat.config import SamplingOptions
from jojo.chat.engine import Drawing
from jojo.chat.session import OPENING, STORY_OPENING
from jojo.data.bins import Dataset
from jojo.device import Machine
from jojo.text.template import NEWLINE, Message, Template, decode, encode_prompt, template_named
from model import GPT
from tokenizer import IM_END

SAMPLE_TOKENS = 60


def sample_conversation(model: GPT, data: Dataset, machine: Machine) -> str:
    """Replies to a fixed greeting and to the first validation conversation, as text."""
    template = template_named(data.manifest.template)
    with machine.autocast():
        return _sample(model, data, template)


def _sample(model: GPT, data: Dataset, template: Template) -> str:
    if not template.is_chat:
        return STORY_OPENING + _reply(model, [_assistant(STORY_OPENING)], template)
    ids = data.ids["val"][: 4 * model.config.block_size]
    end = np.flatnonzero(np.isin(ids, (NEWLINE, IM_END) if template.stop_text else IM_END))
    first = decode(ids[: end[0] + 1], template.name) if len(end) else []
    prompts = [[{"role": "user", "content": OPENING}]]
    if first and first[0]["role"] == "user":
        prompts.append(first[:1])
    return "\n".join(f"  > {p[0]['content']}\n  {_reply(model, p, template)}" for p in prompts)


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _reply(model: GPT, messages, template: Template) -> str:
    prompt = encode_prompt(messages, template.name)[-model.config.block_size // 2 :]
    options = SamplingOptions(temp=0.7, top_p=0.95, max_tokens=SAMPLE_TOKENS)
    generator = torch.Generator().manual_seed(0)  # not the run's own, whose state must not change
    training = model.training
    model.eval()
    with torch.compiler.set_stance("force_eager"):
        (reply,) = Drawing(model, prompt, template, options, generator).run()
    model.train(training)
    return reply.shown

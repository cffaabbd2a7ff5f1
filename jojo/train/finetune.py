"""What fine-tuning adds to a run: a trained model to start from, and settings that fit the data.

model, base, config = start_from(config, machine, data)    # base: {"source", "hash"}
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from jojo.command import say
from jojo.data.bins import Dataset, conversation_starts
from jojo.device import Machine
from jojo.models import lora, pretrained
from jojo.models.active_vocabulary import unlearned
from jojo.train.config import TUNING_EPOCHS, TrainConfig
from model import GPT

UNLEARNED_SHARE = 0.01  # of the different tokens of a dataset; fewer are not worth a warning
EPOCH_STEPS = 30  # that an epoch should have, if need be of short, single sequences
LEAST_WINDOW, MOST_WINDOW = 64, 512  # tokens; conversations that people write fit into 512
MOST_BATCH = 16
EVALUATIONS = 4  # in an epoch
MOST_BETWEEN = 250  # steps between two of them


def start_from(
    config: TrainConfig, machine: Machine, data: Dataset
) -> tuple[GPT, dict[str, str], TrainConfig]:
    """The trained model to start from, with adapters if asked for; its source and hash; and
    `config` with the open settings filled in."""
    where = machine.device
    base = pretrained.open_base(config.base, "cpu" if config.load_in_4bit else where)
    if base.adapter is not None and not config.lora_rank:  # all weights are trained
        base = pretrained.merged(base, config.base)
    model = base.model
    context = model.config.block_size
    if config.block_size and config.block_size > context:
        raise ValueError(
            f"`block_size` {config.block_size}: {config.base} has a context of {context} tokens, "
            "longer windows do not fit"
        )
    model.config.dropout = config.dropout
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = config.dropout
    if config.lora_rank > model.config.n_embd:
        raise ValueError(
            f"`lora_rank` {config.lora_rank}: {config.base} is {model.config.n_embd} wide, more "
            "than that adds nothing; 8 to 64 are usual"
        )
    if config.lora_rank:
        if config.load_in_4bit:
            lora.hold_in_4bit(model, where)
        lora.adapt(model, adapters_of(config, base.adapter))
        if not config.lora_merge:  # else whole models are saved, as precise as they were read
            lora.hold_in(model, machine.dtype)
        if base.adapter is not None:
            _continue_adapter(config, model, base.adapter)
    trained_by = (base.facts.get("train_config") or {}).get("optimizer")
    if config.optimizer is None and trained_by == "muon" and not config.lora_rank:
        config = replace(config, optimizer="muon")
    config = fit(config, data, context)
    return model.train(), {"source": base.source, "hash": base.hash}, config


def adapters_of(config: TrainConfig, adapter: dict | None) -> lora.LoRA:
    """The adapters asked for; one that is trained further keeps its alpha."""
    alpha = 2.0 * config.lora_rank if adapter is None else adapter["lora"]["alpha"]
    if adapter is not None and config.lora_alpha not in (None, alpha):
        raise ValueError(
            f"`lora_alpha` {config.lora_alpha:g}: {config.base} has {alpha:g}, and another value "
            "would change what it has learned: leave it out"
        )
    alpha = config.lora_alpha or alpha
    return lora.LoRA(config.lora_rank, alpha, config.lora_dropout, config.lora_target_names)


def _continue_adapter(config: TrainConfig, model: GPT, adapter: dict) -> None:
    """Start from the weights of an adapter; it needs the same shape."""
    how = adapter["lora"]
    try:
        lora.load_adapter_state(model, adapter["adapter"])
    except ValueError:
        raise ValueError(
            f"{config.base} is an adapter of rank {how['rank']} on {','.join(how['targets'])}: "
            "train it further with the same `lora_rank` and `lora_targets`, or leave out "
            "`lora_rank` to train all weights, with the adapter merged in"
        ) from None


def fit(config: TrainConfig, data: Dataset, context: int) -> TrainConfig:
    """`config` with the open settings filled in to fit the data and the model's context.

    Sequences are as long as most conversations; tiny data is read one short sequence at a time,
    large data 16 of 512 tokens.
    """
    epochs = config.epochs
    if config.max_iters is None and config.time_budget is None and epochs is None:
        epochs = TUNING_EPOCHS
    lengths = np.diff(conversation_starts(data.ids["train"]))
    tokens = int(lengths.sum())
    a_step = tokens / EPOCH_STEPS
    block_size = config.block_size
    if block_size is None:
        most = min(context, MOST_WINDOW, tokens - 1)
        wanted = max(LEAST_WINDOW, a_step, float(np.percentile(lengths, 90)))
        windows = max(1, int(tokens // (min(most, wanted) + 1)))
        block_size = min(most, tokens // windows - 1)  # so that few tokens are left over
    batch_size = config.batch_size or max(1, min(MOST_BATCH, round(a_step / block_size)))
    config = replace(config, epochs=epochs, block_size=block_size, batch_size=batch_size)
    an_epoch = max(1, tokens // (block_size + 1) // batch_size)
    between = config.eval_interval or max(1, min(MOST_BETWEEN, round(an_epoch / EVALUATIONS)))
    warmup = min(config.warmup_iters, max(1, steps_of(config, data) // 10))
    return replace(config, eval_interval=between, warmup_iters=warmup)


def steps_of(config: TrainConfig, data: Dataset) -> int:
    """About how many optimizer steps a run has; with a time budget, those of one epoch."""
    if config.epochs is None and config.max_iters is not None:
        return config.max_iters
    windows = max(1, data.manifest.tokens["train"] // (config.block_size + 1))
    return max(1, round((config.epochs or 1.0) * windows / config.batch_size))


def warn_of_unlearned(model: GPT, ids_in_use: Tensor) -> None:
    """Say how many ids of the data the base never learned: LoRA keeps their equal rows frozen."""
    n = int(unlearned(model.lm_head.weight.detach())[ids_in_use].sum())
    if n > max(2, UNLEARNED_SHARE * len(ids_in_use)):  # the two of ChatML are learned
        say(
            f"warning: {n:,} of the {len(ids_in_use):,} different tokens of this data do not occur "
            "in what the base learned from, and adapters cannot teach them: leave out `lora_rank`"
        )

"""Settings of train.py and train_chatbot.py, once. `--help` of each shows them."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

from jojo.chat.config import DeviceOption
from jojo.command import Amount, Count, Options, Range, Seed, Share, UsageError, Whole, seconds
from jojo.data.contract import DataFolder
from jojo.files import MODELS, is_plain_name

DEFAULT_PRESET = "gpt2"
DEFAULT_DATASET = "chitchat"
TUNING_EPOCHS = 3.0  # a trained model learns little data by heart when it reads it more often
SHAPE = ("n_layer", "n_head", "n_kv_head", "n_embd", "n_inner", "block_size")
Preset = Literal["tiny", "small", "gpt2", "medium", "large", "xl"]
Positive = Annotated[float, Range(1e-9, 1e9)]
Rate = Annotated[float, Range(0, 1000)]
Dropout = Annotated[float, Range(0, 0.999)]

# Settings that may differ between a run and its resumption: they do not touch what a step does.
FREE_SETTINGS = {
    *("resume", "overwrite", "data_dir", "out_dir", "run_name", "tensorboard", "resume_seconds"),
    # hashes of what these gave are compared instead
    *("dataset", "data_path", "me", "template", "init_from"),
    *("lora_merge", "patience"),
    *("eval_interval", "eval_tokens", "sample_interval", "save_interval"),
    *("device", "dtype", "compile"),  # what they come to is compared instead
}


@dataclass
class RunOptions(Options):
    """What train.py alone can be told: the run, its data and its model."""

    dataset: str | None = None
    """Name of a prepared dataset: data/<dataset>.json; by default chitchat, and of your own chats
    the name of the run."""
    data_path: tuple[Path, ...] = ()
    """Your own chats: files, folders, zips; first prepared as data/prepare-file.py does."""
    template: Literal["chatml", "speaker"] | None = None
    """How your own chats are written down; by default speaker for interviews, else chatml."""
    out_dir: Path = MODELS
    """Where the checkpoints go."""
    run_name: str | None = None
    """Names the files of this run; by default the dataset's name."""

    init_from: str | None = None
    """Start from a trained model (scratch: from a new one): gpt2, gpt2-medium, gpt2-large, gpt2-xl,
    distilgpt2, a Hugging Face folder or owner/name (gpt2, qwen3), or a checkpoint."""
    preset: Preset | None = None
    """Size of a new model, by default gpt2; the next settings change single parts of it."""
    arch: Literal["jojo", "gpt2"] | None = None
    """jojo (default): Qwen3-shaped, exports anywhere. gpt2: as GPT-2."""
    n_layer: Count | None = None
    n_head: Count | None = None
    n_kv_head: Count | None = None
    n_embd: Count | None = None
    n_inner: Count | None = None
    tie_embeddings: bool | None = None
    """One matrix for embedding and head; by default as the architecture has it."""

    max_iters: Count | None = None
    """Optimizer steps; by default 5000, a trained model instead reads the dataset three times."""
    time_budget: str | None = None
    """Instead of --max_iters: as many steps as fit in e.g. 90s, 30m, 2h."""


@dataclass
class LearningOptions(DeviceOption, DataFolder):
    """What train.py and train_chatbot.py can both be told."""

    me: str | None = None
    """Who of your own chats becomes the assistant."""
    resume: bool = False
    """Go on with an unfinished run; the result is that of a run that was never stopped."""
    overwrite: bool = False
    """Start anew over the files of an earlier run of the same name."""

    lora_rank: Annotated[int, Range(0, 1 << 16)] = 0
    """Train adapters of this rank beside frozen weights, e.g. 16; 0 trains all weights."""
    lora_alpha: Positive | None = None
    """The adapters count alpha / rank; by default twice the rank."""
    lora_dropout: Dropout = 0.0
    lora_targets: str = "q,k,v,o"
    """Projections with an adapter: q, k, v, o, up, down, gate, or all."""
    lora_merge: bool = False
    """Save whole models with the adapters merged in, instead of small adapter files."""
    load_in_4bit: bool = False
    """Hold the frozen matrices in 4 bits (QLoRA); needs bitsandbytes and a CUDA GPU."""

    epochs: Positive | None = None
    """Instead of --max_iters: how often to read the dataset."""
    patience: Count | None = None
    """Stop when the validation loss has not fallen for this many validations in a row."""
    block_size: Count | None = None
    """Context in tokens. A trained model keeps its own, and reads sequences of this length; by
    default up to 512, as fits the data."""
    batch_size: Count | None = None
    """Sequences per optimizer step; by default 32, for a trained model 1 to 16 as fits the data."""
    micro_batch_size: Count | None = None
    """Sequences computed at once; found automatically, and never changes the result's meaning."""
    loss_on: Literal["all", "assistant"] = "all"
    """Learn every token, or only the assistant's turns."""
    seed: Seed = 1337
    learning_rate: Rate | None = None
    """Of the block matrices (muon: 0.02; fine-tuning 0.004), or of everything (adamw: 0.0006;
    fine-tuning 0.00005; LoRA 0.0002)."""
    weight_decay: Amount = 0.0
    """Of the block matrices."""
    dropout: Dropout = 0.0

    eval_tokens: Count = 65536
    """Validation tokens read each time, always the same ones."""
    resume_seconds: Amount = 60.0
    """Least time between two saves of the resume file; 0 saves it at every step."""
    tensorboard: bool = False
    """Write TensorBoard events to <out_dir>/<run>-tensorboard."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the matrix products; weights stay float32."""
    compile: bool = True
    """Use torch.compile where there is a compiler."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resume and self.overwrite:
            raise ValueError("`resume` and `overwrite` exclude each other: give one")
        self._check_adapter()

    def _check_adapter(self) -> None:
        for name in ("lora_alpha", "lora_dropout", "lora_targets", "lora_merge"):
            if not self.lora_rank and getattr(self, name) != getattr(LearningOptions, name):
                raise ValueError(f"`{name}` is for adapters: add `lora_rank` 16, or leave it out")
        if self.lora_rank and not self.lora_target_names:
            raise ValueError("`lora_targets` is empty: name projections, e.g. q,k,v,o")
        if self.load_in_4bit and not self.lora_rank:
            raise ValueError("`load_in_4bit` needs adapters that learn: add `lora_rank` 16")
        if self.load_in_4bit and self.lora_merge:
            raise ValueError("`lora_merge` needs the whole weights: leave out `load_in_4bit`")

    @property
    def lora_target_names(self) -> tuple[str, ...]:
        return tuple(self.lora_targets.replace(",", " ").split())


@dataclass
class TrainConfig(LearningOptions, RunOptions):
    """All settings of a training run."""

    optimizer: Literal["muon", "adamw"] | None = None
    """muon (default of new models and what it trained): Muon for the matrices of the blocks, AdamW
    for the rest. adamw (default of other trained models and of LoRA): AdamW for all."""
    embedding_lr: Rate = 0.01
    """AdamW rate of the embeddings beside Muon."""
    head_lr: Rate = 0.002
    """AdamW rate of head and norms beside Muon."""
    warmup_iters: Whole = 10
    decay_fraction: Share = 0.6
    """Share of the run, at its end, over which rates fall linearly."""
    final_lr_fraction: Share = 0.02
    """What the rates fall to."""
    grad_clip: Amount = 1.0
    """Largest gradient norm; 0 for none."""

    eval_interval: Count | None = None
    """Steps between validation losses; by default 250, for a trained model four times an epoch."""
    sample_interval: Whole = 1000
    """Steps between sample conversations; 0 for none."""
    save_interval: Count = 1000
    """Steps between checkpoints <run><step>.pt."""

    def __post_init__(self) -> None:
        super().__post_init__()
        seconds(self.time_budget or "1s")
        if self.epochs is not None and self.time_budget is not None:
            raise ValueError("`epochs` and `time_budget` exclude each other: give one")
        if not is_plain_name(self.run):
            raise ValueError(f"`run_name` {self.run!r} must be a plain file name")
        if self.base and (shape := self.new_shape):
            raise ValueError(
                f"`{shape[0]}` is for a new model, `init_from` {self.init_from} has its own "
                "shape: leave one of them out"
            )
        if self.lora_rank and not self.base:
            raise ValueError("`lora_rank` trains beside a trained model: name it with `init_from`")
        if self.lora_rank and self.optimizer == "muon":
            raise ValueError("`optimizer` muon is not for adapters: leave it out, or `lora_rank`")

    def for_new_model(self) -> TrainConfig:
        """With what was left open filled in; jojo/train/finetune.py does it for a trained model."""
        usual = {"batch_size": 32, "eval_interval": 250}
        if self.epochs is None and self.time_budget is None:
            usual["max_iters"] = 5000
        open_ones = {n: value for n, value in usual.items() if getattr(self, n) is None}
        return replace(self, **open_ones)

    def settings(self) -> dict:
        """What a resumed run must agree on, as plain values."""
        given = {n: v for n, v in vars(self).items() if n not in FREE_SETTINGS}
        return {n: str(v) if isinstance(v, Path) else v for n, v in given.items()}

    @property
    def data_name(self) -> str:
        """The dataset, which has a name of its own where it is made of your own chats."""
        if self.dataset is not None:
            return self.dataset
        return (self.run_name or "mine") if self.data_path else DEFAULT_DATASET

    @property
    def run(self) -> str:
        return self.run_name or self.data_name

    @property
    def base(self) -> str | None:
        """The trained model to start from, if there is one."""
        return None if self.init_from == "scratch" else self.init_from

    @property
    def new_shape(self) -> list[str]:
        """Settings that are given and that only a new model can have."""
        names = ("preset", "arch", *SHAPE[:-1], "tie_embeddings")
        return [name for name in names if getattr(self, name) is not None]

    @property
    def chosen_optimizer(self) -> str:
        return self.optimizer or ("adamw" if self.base else "muon")

    @property
    def rate(self) -> float:
        """The learning rate, or the optimizer's usual one."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self.chosen_optimizer == "muon":
            return 0.004 if self.base else 0.02
        if not self.base:
            return 6e-4
        return 2e-4 if self.lora_rank else 5e-5

    def model_settings(self) -> dict:
        """What is set beside the preset, as keyword arguments of GPTConfig."""
        given = {n: getattr(self, n) for n in ("arch", *SHAPE, "tie_embeddings")}
        given = {n: value for n, value in given.items() if value is not None}
        return {"dropout": self.dropout, **given}


@dataclass
class ChatbotFiles(Options):
    """What train_chatbot.py starts from, reads and leaves."""

    model: str = "gpt2-small (124M)"
    """What to start from: gpt2-small (124M), gpt2-medium (355M), gpt2-large (774M), gpt2-xl
    (1558M), distilgpt2, a Hugging Face folder or owner/name (gpt2, qwen3), or a checkpoint."""
    text_file: tuple[Path, ...] = ()
    """Texts to learn: files, folders, zips of plain text."""
    conversation_file: tuple[Path, ...] = ()
    """Conversations to learn: files, folders, zips of whatever data/prepare-file.py reads."""
    save_path: Path = MODELS / "chatbot.pt"
    """The model that comes out, a .pt file."""
    interactive: bool = False
    """Talk to it afterwards; without files to learn: to the model that is at --save_path."""
    system: str | None = None
    """System message for conversations that have none, and of --interactive: a persona."""
    val_fraction: Annotated[float, Range(0, 0.9)] | None = None
    """Share that is held out to see when to stop; by default a tenth, and nothing of fewer than 20
    conversations or pieces of a text."""

    @property
    def has_data(self) -> bool:
        return bool(self.text_file or self.conversation_file)


@dataclass
class ChatbotConfig(LearningOptions, ChatbotFiles):
    """All settings of train_chatbot.py; `training` makes those of its run."""

    epochs: Positive = TUNING_EPOCHS
    """How often to read the data."""
    patience: Count | None = None
    """Stop when the validation loss has not fallen for this many validations in a row, of which
    there are four in an epoch; by default four."""

    def __post_init__(self) -> None:
        self.save_path = Path(os.path.expanduser(self.save_path))
        name = self.save_path.name
        if self.save_path.suffix != ".pt" or not is_plain_name(name):
            raise ValueError(f"`save_path` {self.save_path} must be a file whose name ends in .pt")
        if self.epochs <= 0:
            raise ValueError(f"`epochs` {self.epochs:g} must be more than 0")
        super().__post_init__()

    def check_files(self) -> None:
        """UsageError where there is nothing to learn, or what is asked for does not go with it.

        Not in __post_init__: a TOML file may hold the one and flags the other.
        """
        if not self.has_data and not self.interactive:
            raise UsageError(
                "there is nothing to learn: give `text_file` FILE, `conversation_file` FILE or both"
            )
        if self.me and not self.conversation_file:
            raise UsageError("`me` names somebody in `conversation_file`: give that")
        if self.system and self.has_data and not self.conversation_file:
            raise UsageError("`system` needs conversations: give `conversation_file`, too")
        if self.loss_on == "assistant" and self.text_file:
            raise UsageError(
                "`loss_on` assistant: a text has no assistant, nothing of `text_file` would be "
                "learned; leave one of them out"
            )

    def training(self, **decided: object) -> TrainConfig:
        """The settings of the training run; `decided`: by what the data is like."""
        given = {f.name: getattr(self, f.name) for f in fields(LearningOptions)}
        run = self.save_path.stem
        named = {"run_name": run, "dataset": f"chatbot-{run}", "out_dir": self.save_path.parent}
        return TrainConfig(**given | named | {"init_from": self.model} | decided)

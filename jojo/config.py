"""Every setting of the commands, once. `--help` of each command shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jojo.files import ROOT, is_plain_name

DEFAULT_PRESET = "gpt2"
SHAPE = ("n_layer", "n_head", "n_kv_head", "n_embd", "n_inner", "block_size")


@dataclass
class TrainConfig:
    dataset: str = "chitchat"
    """Name of a prepared dataset: data/<dataset>.json."""
    data_path: tuple[Path, ...] = ()
    """Your own chats: files, folders, zips; first prepared as data/prepare-file.py does."""
    me: str | None = None
    """Who of your own chats becomes the assistant."""
    template: Literal["chatml", "speaker"] | None = None
    """How your own chats are written down; by default speaker for interviews, else chatml."""
    data_dir: Path = ROOT / "data"
    """Where datasets are."""
    out_dir: Path = ROOT / "models"
    """Where checkpoints go."""
    run_name: str | None = None
    """Names the files of this run; by default the dataset's name."""
    resume: bool = False
    """Go on with an unfinished run; the result is that of a run that was never stopped."""
    overwrite: bool = False
    """Start anew over the files of an earlier run of the same name."""

    init_from: str | None = None
    """Start from a trained model (scratch: from a new one): gpt2, gpt2-medium, gpt2-large, gpt2-xl,
    distilgpt2, a Hugging Face folder or owner/name (gpt2, qwen3), or a checkpoint."""
    lora_rank: int = 0
    """Train adapters of this rank beside frozen weights, e.g. 16; 0 trains all weights."""
    lora_alpha: float | None = None
    """The adapters count alpha / rank; by default twice the rank."""
    lora_dropout: float = 0.0
    lora_targets: str = "q,k,v,o"
    """Projections with an adapter: q, k, v, o, up, down, gate, or all."""
    lora_merge: bool = False
    """Save whole models with the adapters merged in, instead of small adapter files."""
    load_in_4bit: bool = False
    """Hold the frozen matrices in 4 bits (QLoRA); needs bitsandbytes and a CUDA GPU."""

    preset: Literal["tiny", "small", "gpt2", "medium", "large", "xl"] | None = None
    """Size of a new model, by default gpt2; the next settings change single parts of it."""
    arch: Literal["jojo", "gpt2"] | None = None
    """jojo (default): Qwen3-shaped, exports anywhere. gpt2: as GPT-2."""
    n_layer: int | None = None
    n_head: int | None = None
    n_kv_head: int | None = None
    n_embd: int | None = None
    n_inner: int | None = None
    block_size: int | None = None
    """Context in tokens; of a trained model: how much of it training uses."""
    tie_embeddings: bool | None = None
    """One matrix for embedding and head; by default as the architecture has it."""
    dropout: float = 0.0

    max_iters: int = 5000
    """Optimizer steps."""
    epochs: float | None = None
    """Instead of --max_iters: how often to read the dataset."""
    time_budget: str | None = None
    """Instead of --max_iters: as many steps as fit in e.g. 90s, 30m, 2h."""
    patience: int | None = None
    """Stop when the validation loss has not fallen for so many validations in a row."""
    batch_size: int = 32
    """Sequences per optimizer step."""
    micro_batch_size: int | None = None
    """Sequences computed at once; found automatically, and never changes the result's meaning."""
    loss_on: Literal["all", "assistant"] = "all"
    """Learn every token, or only the assistant's turns."""
    seed: int = 1337

    optimizer: Literal["muon", "adamw"] | None = None
    """muon (default of a new model): Muon for the matrices of the blocks, AdamW for the rest.
    adamw (default of a trained one): AdamW for all."""
    learning_rate: float | None = None
    """Of the block matrices (muon: 0.02), or of everything (adamw: 0.0006; fine-tuning 0.00005;
    LoRA 0.0002)."""
    embedding_lr: float = 0.01
    """AdamW rate of the embeddings beside Muon."""
    head_lr: float = 0.002
    """AdamW rate of head and norms beside Muon."""
    weight_decay: float = 0.0
    """Of the block matrices."""
    warmup_iters: int = 10
    decay_fraction: float = 0.6
    """Share of the run, at its end, over which rates fall linearly."""
    final_lr_fraction: float = 0.02
    """What the rates fall to."""
    grad_clip: float = 1.0
    """Largest gradient norm; 0 for none."""

    eval_interval: int = 250
    """Steps between validation losses."""
    eval_tokens: int = 65536
    """Validation tokens read each time, always the same ones."""
    sample_interval: int = 1000
    """Steps between sample conversations; 0 for none."""
    save_interval: int = 1000
    """Steps between checkpoints <run><step>.pt."""
    resume_seconds: float = 60.0
    """Least time between saves of the resume file; 0 saves it at every step."""
    tensorboard: bool = False
    """Write TensorBoard events to <out_dir>/<run>-tensorboard."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the matrix products; weights stay float32."""
    compile: bool = True
    """torch.compile, where a compiler is there."""

    def __post_init__(self) -> None:
        for name in ("max_iters", "batch_size", "eval_interval", "eval_tokens", "save_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} {getattr(self, name)} must be 1 or more")
        seconds(self.time_budget or "1s")
        ranges = {
            "decay_fraction": (0.0, 1.0),
            "final_lr_fraction": (0.0, 1.0),
            "dropout": (0.0, 0.999),
            "warmup_iters": (0, 1 << 40),
            "micro_batch_size": (1, 1 << 40),
            "grad_clip": (0.0, 1e30),
            "weight_decay": (0.0, 1e30),
            "epochs": (1e-9, 1e9),
            "sample_interval": (0, 1 << 40),
            "resume_seconds": (0.0, 1e30),
            "patience": (1, 1 << 40),
            "lora_rank": (0, 1 << 16),
            "lora_alpha": (1e-9, 1e9),
            "lora_dropout": (0.0, 0.999),
        }
        check_seed(self.seed)
        check_ranges(self, ranges)
        if self.epochs is not None and self.time_budget is not None:
            raise ValueError("--epochs and --time_budget exclude each other: give one")
        if self.resume and self.overwrite:
            raise ValueError("--resume and --overwrite exclude each other: give one")
        if self.data_path and self.dataset == TrainConfig.dataset:
            self.dataset = self.run_name or "mine"  # your own chats replace no other dataset
        if self.me and not self.data_path:
            raise ValueError("--me names somebody in your own chats: give them with --data_path")
        if not is_plain_name(self.run):
            raise ValueError(f"--run_name {self.run!r} must be a plain file name")
        if self.optimizer is None:
            self.optimizer = "adamw" if self.base else "muon"
        self._check_tuning()

    def _check_tuning(self) -> None:
        """What only makes sense with a trained model, and what makes none with it."""
        if self.base:
            for name in ("preset", "arch", *SHAPE[:-1], "tie_embeddings"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"--{name} is for a new model, --init_from {self.init_from} has its own "
                        "shape: leave one of them out"
                    )
        elif self.lora_rank:
            raise ValueError("--lora_rank trains beside a trained model: name it with --init_from")
        if self.lora_rank and self.optimizer == "muon":
            raise ValueError("--optimizer muon is not for adapters: leave it out, or --lora_rank")
        if self.lora_rank and not self.lora_target_names:
            raise ValueError("--lora_targets is empty: name projections, e.g. q,k,v,o")
        if self.load_in_4bit and not self.lora_rank:
            raise ValueError("--load_in_4bit needs adapters that learn: add --lora_rank 16")
        if self.load_in_4bit and self.lora_merge:
            raise ValueError("--lora_merge needs the whole weights: leave out --load_in_4bit")

    @property
    def run(self) -> str:
        return self.run_name or self.dataset

    @property
    def base(self) -> str | None:
        """The trained model to start from, if there is one."""
        return None if self.init_from == "scratch" else self.init_from

    @property
    def rate(self) -> float:
        """The learning rate, or the optimizer's usual one."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self.optimizer == "muon":
            return 0.02
        if not self.base:
            return 6e-4
        return 2e-4 if self.lora_rank else 5e-5

    @property
    def lora_target_names(self) -> tuple[str, ...]:
        return tuple(name for name in self.lora_targets.replace(",", " ").split())

    def model_settings(self) -> dict:
        """What is set beside the preset, as keyword arguments of GPTConfig."""
        given = {n: getattr(self, n) for n in ("arch", *SHAPE, "tie_embeddings")}
        given = {n: value for n, value in given.items() if value is not None}
        return {"dropout": self.dropout, **given}


@dataclass(kw_only=True)
class SamplingOptions:
    temp: float = 0.7
    """Temperature: 0 always takes the likeliest token."""
    top_k: int = 0
    """Only the k likeliest tokens; 0 for all."""
    top_p: float = 0.9
    """Only the likeliest tokens that together have this probability."""
    min_p: float = 0.0
    """Only tokens at least this likely, relative to the likeliest."""
    repetition_penalty: float = 1.0
    """Above 1: makes tokens already used less likely (CTRL, arXiv:1909.05858)."""
    max_tokens: int = 256
    """Longest reply, in tokens."""

    def __post_init__(self) -> None:
        limits = {
            "temp": (0.0, 100.0),
            "top_k": (0, 1 << 30),
            "top_p": (1e-9, 1.0),
            "min_p": (0.0, 1.0),
            "repetition_penalty": (0.01, 100.0),
            "max_tokens": (1, 1 << 30),
        }
        check_ranges(self, limits)


@dataclass(kw_only=True)
class GenConfig(SamplingOptions):
    checkpoint: Annotated[Path, tyro.conf.Positional]
    """A checkpoint of train.py, e.g. models/chat5000.pt."""
    prompt: str | None = None
    """What to say to a chat model, or what a text model continues."""
    prompt_file: Path | None = None
    """Read the prompt from a file: text, or turns in ChatML."""
    interactive: bool = False
    """Chat in the terminal; a text model continues each line."""
    system: str | None = None
    """System message of the chat."""
    nonstop: bool = False
    """Go on past the end of the reply, up to --max_tokens."""
    num_samples: int = 1
    """Replies to draw, all at once."""
    seed: int | None = None
    """Same seed, same text; without one every run differs."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the weights; auto takes the fastest."""
    output: Path | None = None
    """Also write the text to this file."""
    verbose: bool = False
    """Say what is loaded and how fast it goes."""


@dataclass(kw_only=True)
class EvalConfig(SamplingOptions):
    checkpoint: Annotated[Path, tyro.conf.Positional]
    """A checkpoint of train.py."""
    dataset: str | None = None
    """Validate on this dataset; by default the one it was trained on."""
    data_dir: Path = ROOT / "data"
    """Where datasets are."""
    eval_tokens: int = 1_000_000
    """Validation tokens to read at most."""
    prompts: int = 400
    """Prompts of held-out phrasings to answer (chitchat only); 0 for none."""
    max_tokens: int = 64
    """A reply that has not ended by then counts as not ended."""
    seed: int = 1
    """Chooses the prompts and the replies."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    show_wrong: int = 10
    """Replies without the right intent to show."""
    json: bool = False
    """Print the numbers as JSON on stdout."""


@dataclass
class BenchConfig:
    what: Annotated[Literal["prepare", "train", "gen", "race"], tyro.conf.Positional]
    """What to measure."""
    json: bool = False
    """Print the numbers as JSON on stdout."""
    megabytes: int = 1000
    """prepare: size of the text."""
    input: Path | None = None
    """prepare: a text file of stories to make it of, instead of made-up ones."""
    config: Path = ROOT / "config" / "laptop.toml"
    """train, race: the settings of train.py."""
    dataset: str = "chitchat"
    """train, race: a prepared dataset."""
    data_dir: Path = ROOT / "data"
    """train, race: where it is."""
    steps: int = 12
    """train: steps to time."""
    budget: str = "10m"
    """race: how long the plain loop trains."""
    preset: Literal["tiny", "small", "gpt2", "medium", "large", "xl"] = "gpt2"
    """gen: size of the model."""
    tokens: int = 512
    """gen: tokens to generate."""


def check_ranges(options: object, ranges: dict[str, tuple[float, float]]) -> None:
    """ValueError for the first option that is set and lies outside its range."""
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            raise ValueError(f"--{name} {value} must lie between {low:g} and {high:g}")


def check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < 1 << 63:
        raise ValueError(f"--seed {seed} must lie between 0 and {(1 << 63) - 1}")


def seconds(text: str, flag: str = "--time_budget") -> float:
    """ "90s", "30m", "2h", "1d" or plain seconds -> seconds; ValueError names the flag."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ValueError(f"{flag} {text!r} is no time: write 90s, 30m or 2h, or 1d for a day")
    return value

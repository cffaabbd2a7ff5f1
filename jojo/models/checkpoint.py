"""Checkpoints: the only torch.save and torch.load. Written whole, read without pickle.

<run><step>.pt and <run>-best.pt hold weights, model config, template, step, metrics, the data's
hash, the script that trained it and its settings. <run>-resume.pt also holds optimizers and random
states; the one before it is kept as <run>-resume-previous.pt until the run is done. A run that
trains adapters (LoRA) saves these alone, with the name and the hash of their base.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch.torch_version import TorchVersion

from jojo.files import whole_file
from jojo.models import lora, weights
from jojo.models.active_vocabulary import ActiveEmbedding, ActiveHead
from jojo.models.names import nearby, there_is
from model import GPT, GPTConfig
from tokenizer import VOCABULARY

FORMAT = "jojo-1"
HARMLESS = [TorchVersion]  # a str: what torch.__version__ is, which the first Jojo kept


def save(path: Path, content: dict) -> None:
    """Write `content` (tensors, numbers, strings, lists, dicts) so that it appears whole."""
    with whole_file(path) as temporary:
        _write(temporary, content)


def _write(path: Path, content: dict) -> None:
    """torch.save, with the system's error where the disk is full or the place not writable."""
    with open(path, "wb") as f:
        try:
            torch.save(content, f)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def load(path: Path, device: str | torch.device = "cpu", mmap: bool = True) -> dict:
    """Read one of our checkpoints; ValueError says what is wrong with the file."""
    content = read(path, device, mmap)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        if (used := content.get("tokenizer", VOCABULARY)) != VOCABULARY:
            raise ValueError(
                f"{path} was trained with the tokenizer {used}, this Jojo has {VOCABULARY}: open "
                "it with the Jojo that trained it"
            )
        return content
    if is_older(content):
        raise ValueError(
            f"{path} is a checkpoint of nanoGPT or the first Jojo: convert it first, python "
            f"convert.py {path} --outfile models/{Path(path).stem}-converted.pt"
        )
    raise ValueError(
        f"{path} is not a Jojo checkpoint (format {FORMAT}): it comes from another program"
    )


def read(path: Path, device: str | torch.device = "cpu", mmap: bool = True) -> object:
    """What any program wrote with torch.save, read with `weights_only`; ValueError as `load`."""
    path = Path(path)
    if not path.exists():
        raise ValueError(f"checkpoint {path} does not exist{nearby(path)}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a checkpoint file{there_is(path)}")
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path} holds more than tensors and plain values and was not opened: it could run "
            "code. Only load checkpoints saved by Jojo"
        ) from None
    except (PermissionError, MemoryError):
        raise
    except Exception:  # whatever a damaged zip or pickle makes of torch.load
        raise ValueError(
            f"{path} is no checkpoint, or a truncated one: name a .pt file of train.py, or copy it "
            "again"
        ) from None


def is_older(content: object) -> bool:
    """Whether nanoGPT or the first Jojo wrote it; jojo/models/nanogpt.py converts it."""
    if not isinstance(content, dict) or "format" in content:
        return False
    config = content.get("config")
    return "model_args" in content or (isinstance(config, dict) and "model" in config)


def export_state(model: GPT) -> dict[str, torch.Tensor]:
    """The weights of `model` under their plain names, the active vocabulary written out."""
    state = lora.merged_state(model) if lora.is_adapted(model) else dict(model.state_dict())
    for name, module in (("wte", model.wte), ("lm_head", model.lm_head)):
        if isinstance(module, ActiveEmbedding | ActiveHead):
            state[f"{name}.weight"] = module.full_weight()
    state.pop("wte.others", None)
    if model.config.tie_embeddings:
        del state["lm_head.weight"]
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def model_content(
    model: GPT, *, template: str, base: dict[str, str] | None = None, **facts
) -> dict:
    """What a checkpoint holds; `facts`: step, metrics, data_hash and more: plain values.

    With `base` ({"source", "hash"}) it holds the adapters of `model` alone.
    """
    if base is None:
        learned = {"model": export_state(model)}
    else:
        how = asdict(lora.of(model))
        learned = {"adapter": lora.adapter_state(model), "lora": how, "base": base}
    return {
        "format": FORMAT,
        "config": asdict(model.config),
        "tokenizer": VOCABULARY,
        "template": template,
        **learned,
        **facts,
    }


def load_model(path: Path, device: str | torch.device = "cpu") -> tuple[GPT, dict]:
    """(model in evaluation mode, float32; the rest of the checkpoint)."""
    content = load(path)  # memory-mapped: a GPU holds one copy
    config = config_of(content, path)
    if "adapter" in content:
        raise ValueError(f"{path} is an adapter: open it together with its base")
    if missing := {"model", "template"} - content.keys():
        raise ValueError(f"{path} is no whole checkpoint: it lacks {', '.join(sorted(missing))}")
    state = content.pop("model")
    if not isinstance(state, dict) or not isinstance(content["template"], str):
        raise ValueError(f"{path} is no whole checkpoint: its model or template is of another type")
    model = weights.empty(config, device)
    load_weights(model, state, path)
    return model.eval(), content


def config_of(content: dict, path: Path) -> GPTConfig:
    """The shape of the model in a checkpoint, or of the base of an adapter."""
    if "optimizers" in content:
        raise ValueError(f"{path} is for `resume` alone{there_is(Path(path).parent)}")
    if "config" not in content:
        raise ValueError(f"{path} is no whole checkpoint: it lacks config")
    try:
        return GPTConfig(**content["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} holds a model that cannot be built: {error}") from error


def load_weights(model: GPT, state: dict[str, torch.Tensor], path: Path) -> None:
    """Copy weights into `model`; ValueError names what does not fit."""
    own = model.state_dict()
    if model.config.tie_embeddings:
        own.pop("lm_head.weight")
    wrong = [n for n in own if getattr(state.get(n), "shape", None) != own[n].shape]
    wrong += [n for n in state if n not in own]
    if wrong:
        raise ValueError(
            f"{path} is of another architecture: {len(wrong)} tensors differ, e.g. {wrong[0]}"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(state[name])
    model.fill_tables()


def runs(out_dir: Path) -> list[str]:
    """Names of the runs that have a model, the newest last, by the names of the files alone.

    run11000.pt counts as of "run1" where a run1.jsonl is, else as of "run".
    """
    logged = {path.stem for path in out_dir.glob("*.jsonl")}
    found = []
    for path in sorted(out_dir.glob("*.pt"), key=os.path.getmtime, reverse=True):
        name = path.stem
        if named := re.fullmatch(r"(.+?)(?:-best|([1-9]\d*))", name):
            shorter = [name[:end] for end in range(len(name) - 1, named.end(1), -1)]
            name = next((n for n in shorter if named[2] and n in logged), named[1])
        elif name not in logged:  # no run leaves it
            continue
        found.append(name)
    return list(dict.fromkeys(found))[::-1]


class RunFiles:
    """The files of one training run, named in one place."""

    def __init__(self, out_dir: Path, run_name: str):
        self.out_dir, self.run_name = Path(out_dir), run_name
        self.resume = self.out_dir / f"{run_name}-resume.pt"
        self.previous = self.out_dir / f"{run_name}-resume-previous.pt"
        self.best = self.out_dir / f"{run_name}-best.pt"
        self.alone = self.out_dir / f"{run_name}.pt"  # what train_chatbot.py leaves
        self.metrics = self.out_dir / f"{run_name}.jsonl"
        self.curves = self.out_dir / f"{run_name}.png"
        self.tensorboard = self.out_dir / f"{run_name}-tensorboard"

    def milestone(self, step: int) -> Path:
        return self.out_dir / f"{self.run_name}{step}.pt"

    def milestones(self) -> Iterator[Path]:
        """Checkpoints of this run, the newest first. Each is opened when it is asked for, as
        run11000.pt may be of "run" or of "run1"."""
        return (path for _, path in reversed(self._numbered()) if self.is_ours(path))

    def _numbered(self) -> list[tuple[int, Path]]:
        """(step, path) of what is named like a checkpoint of this run, by step."""
        pattern = re.compile(re.escape(self.run_name) + r"(\d+)\.pt")
        found = [(pattern.fullmatch(path.name), path) for path in self.out_dir.glob("*.pt")]
        return sorted((int(named[1]), path) for named, path in found if named)

    def check_free(self, max_iters: int, save_interval: int) -> None:
        """ValueError if a checkpoint to be written is there and of another run (run1 and run).

        A `save_interval` of 1 also stands for a run that may end at any step.
        """
        for step, path in self._numbered():
            is_due = step == max_iters or (0 < step < max_iters and step % save_interval == 0)
            if is_due and not self.is_ours(path):
                raise ValueError(f"{path} is of another run: choose another `run_name`")

    def check_not_of(self, base: Path) -> None:
        """ValueError if the model a run starts from is one that it would overwrite."""
        ours = re.fullmatch(re.escape(self.run_name) + r"(\d+|-best)\.pt", base.name)
        if ours and base.parent.resolve() == self.out_dir.resolve():
            raise ValueError(
                f"`init_from` {base} would be overwritten by this run: choose another `run_name` "
                f"than {self.run_name!r}"
            )

    def is_ours(self, path: Path) -> bool:
        try:
            return load(path).get("run") == self.run_name
        except ValueError:  # unreadable: not a file to list or to delete
            return False

    def unfinished(self) -> bool:
        return self.resume.exists() or self.previous.exists()

    def save_resume(self, content: dict) -> None:
        """Save `content` as the newest resume file and keep the one before it."""
        with whole_file(self.resume) as temporary:
            _write(temporary, {"format": FORMAT, **content})
            if self.resume.exists():
                os.replace(self.resume, self.previous)

    def load_resume(self) -> dict | None:
        """The newest resume file that can be read whole, or None if there is none."""
        problem = None
        for path in (self.resume, self.previous):
            if not path.exists():
                continue
            try:
                return load(path, mmap=False)  # the file is replaced while its state is in use
            except ValueError as error:
                problem = error
        if problem:
            raise problem
        return None

    def remove_resume(self) -> None:
        self.resume.unlink(missing_ok=True)
        self.previous.unlink(missing_ok=True)

    def remove_all(self) -> None:
        for path in (*self.milestones(), self.best, self.metrics, self.curves):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.tensorboard, ignore_errors=True)
        self.remove_resume()

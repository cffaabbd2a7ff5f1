"""Token files: `<name>-train.bin`, `<name>-val.bin` and their manifest `<name>.json`.

A .bin is little-endian uint16 ids and nothing else. The manifest is written last and is what
makes a dataset exist; it holds the SHA-256 of each .bin, which is checked before training.
`Batches` turns a .bin into batches that are a pure function of (seed, step, rank).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import xxhash

import tokenizer
from jojo.data.contract import SPLITS, private_of
from jojo.files import ROOT, sha256, sync_folder, temporary_beside, write_text
from jojo.text.template import template_named
from tokenizer import ENDOFTEXT, N_TOKENS, VOCABULARY


@dataclass
class Manifest:
    """What `<name>.json` says. Counts are per split; sizes in bytes."""

    name: str
    template: str
    tokenizer: str
    tokens: dict[str, int]
    conversations: dict[str, int]
    bytes: dict[str, int]
    sha256: dict[str, str]
    records_in: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    licence: str = ""
    private: bool | None = None  # made of somebody's own files; None: nobody knows
    seed: int = 0
    created: str = ""
    notes: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.private = private_of(vars(self))

    def check(self) -> None:
        """ValueError where a fact that readers rely on is missing or of a wrong type."""
        template_named(self.template)
        kinds = {"tokens": int, "conversations": int, "bytes": int, "sha256": str}
        for name, kind in kinds.items():
            facts = getattr(self, name)
            if not isinstance(facts, dict) or any(type(facts.get(s)) is not kind for s in SPLITS):
                raise ValueError(f"{name} does not hold a number or hash of train and val")

    @property
    def hash(self) -> str:
        """One short name for exactly these tokens."""
        return "-".join(self.sha256[s][:16] for s in SPLITS)

    @property
    def holds_out(self) -> bool:
        """Whether val is held out; prepared with --val_fraction 0 it is a copy of train."""
        return self.sha256["train"] != self.sha256["val"]


class DatasetWriter:
    """Writes a dataset beside its place and moves it there whole at `commit`.

    Used in a `with`; without a commit, or on any error, nothing of it remains.
    """

    def __init__(self, out_dir: Path, name: str, *, template: str, write_text: bool = True):
        template_named(template)
        self.out_dir, self.name, self.template = Path(out_dir), name, template
        self.out_dir.mkdir(parents=True, exist_ok=True)
        self.tokens = dict.fromkeys(SPLITS, 0)
        self.conversations = dict.fromkeys(SPLITS, 0)
        self._digests = {split: hashlib.sha256() for split in SPLITS}
        kinds = ("bin", "txt") if write_text else ("bin",)
        self._temporaries = {
            (split, kind): temporary_beside(self._path(split, kind))
            for split in SPLITS
            for kind in kinds
        }
        self._files = {
            (split, kind): open(self._temporary(split, kind), "wb")  # noqa: SIM115
            for split in SPLITS
            for kind in kinds
        }

    def _path(self, split: str, kind: str) -> Path:
        return self.out_dir / f"{self.name}-{split}.{kind}"

    def _temporary(self, split: str, kind: str) -> Path:
        return self._temporaries[split, kind]

    def add(self, split: str, ids: np.ndarray, conversations: int = 1) -> None:
        """Append ids (uint16) of one or more whole conversations to `split`."""
        data = np.ascontiguousarray(ids, dtype="<u2").data
        self._files[split, "bin"].write(data)
        self._digests[split].update(data)
        if (split, "txt") in self._files:
            self._files[split, "txt"].write(tokenizer.decode_bytes(ids))
        self.tokens[split] += len(ids)
        self.conversations[split] += conversations

    def repeat_train(self) -> None:
        """Make val, still empty, a copy of train: nothing is held out."""
        assert not self.tokens["val"]
        for split, kind in self._files:
            if split == "train":
                self._files[split, kind].flush()
                shutil.copyfile(self._temporary(split, kind), self._temporary("val", kind))
        for facts in (self.tokens, self.conversations, self._digests):
            facts["val"] = facts["train"]

    def commit(self, **facts) -> Manifest:
        """Make the dataset visible. `facts`: further fields of the manifest."""
        for split in SPLITS:
            if not self.tokens[split]:
                raise ValueError(
                    f"{self.name}: no conversation is left for the {split} split "
                    f"({self.tokens['train']:,} train and {self.tokens['val']:,} val tokens): "
                    "give more conversations, or a recipe another `val_fraction` (0: train on all)"
                )
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        bins = {split: self._temporary(split, "bin") for split in SPLITS}
        manifest = Manifest(
            name=self.name,
            template=self.template,
            tokenizer=VOCABULARY,
            tokens=self.tokens,
            conversations=self.conversations,
            bytes={split: path.stat().st_size for split, path in bins.items()},
            sha256={split: digest.hexdigest() for split, digest in self._digests.items()},
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **facts,
        )
        manifest_path(self.name, self.out_dir).unlink(missing_ok=True)
        for split, kind in self._files:
            os.replace(self._temporary(split, kind), self._path(split, kind))
        if (SPLITS[0], "txt") not in self._files:  # the text of an older dataset would be wrong
            for split in SPLITS:
                self._path(split, "txt").unlink(missing_ok=True)
        sync_folder(self.out_dir)
        write_text(
            manifest_path(self.name, self.out_dir),
            json.dumps(asdict(manifest), indent=2, ensure_ascii=False) + "\n",
        )
        return manifest

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, *_) -> None:
        for (split, kind), file in self._files.items():
            file.close()
            self._temporary(split, kind).unlink(missing_ok=True)


def manifest_path(name: str, data_dir: Path) -> Path:
    return Path(data_dir) / f"{name}.json"


def delete_dataset(name: str, data_dir: Path) -> None:
    """Delete a dataset, its manifest first."""
    manifest_path(name, data_dir).unlink(missing_ok=True)
    for split in SPLITS:
        for kind in ("bin", "txt"):
            (Path(data_dir) / f"{name}-{split}.{kind}").unlink(missing_ok=True)


@dataclass
class Dataset:
    """An opened, validated dataset; `ids[split]` is a read-only uint16 memory map."""

    manifest: Manifest
    ids: dict[str, np.ndarray]

    def conversations(self, split: str) -> Iterator[np.ndarray]:
        """The ids of each conversation or document of a split, <|endoftext|> included."""
        starts = conversation_starts(self.ids[split])
        for start, end in pairwise(starts.tolist()):
            yield self.ids[split][start:end]


def open_dataset(name: str, data_dir: Path) -> Dataset:
    """Open `data_dir/<name>` and check it whole: size, range, hash. ValueError says what to do."""
    path = manifest_path(name, data_dir)
    again = f"prepare it again: {recipe_command(name)}"
    if not path.exists():
        raise ValueError(f"dataset {name!r} is not in {path.parent}: {recipe_command(name)}")
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
        manifest.check()
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not a manifest ({error}); {again}") from error
    if manifest.tokenizer != VOCABULARY:
        raise ValueError(
            f"{name} was made with tokenizer {manifest.tokenizer}, this is {VOCABULARY}; {again}"
        )
    ids = {}
    for split in SPLITS:
        bin_path = Path(data_dir) / f"{name}-{split}.bin"
        ids[split] = _open_bin(bin_path, manifest.bytes[split], manifest.sha256[split], again)
    return Dataset(manifest, ids)


def _open_bin(path: Path, size_bytes: int, digest: str, again: str) -> np.ndarray:
    if not path.exists():
        raise ValueError(f"{path} is missing; {again}")
    found = path.stat().st_size
    if found != size_bytes:
        raise ValueError(f"{path} has {found:,} bytes, its manifest says {size_bytes:,}; {again}")
    if not found or found % 2:
        raise ValueError(f"{path} has {found} bytes, which is not a list of uint16 ids; {again}")
    ids = np.memmap(path, dtype="<u2", mode="r")
    block = 1 << 24
    highest = max(int(ids[i : i + block].max()) for i in range(0, len(ids), block))
    if highest >= N_TOKENS:
        raise ValueError(
            f"{path} holds the id {highest}, but ids end at {N_TOKENS - 1}: it was made with "
            f"another tokenizer; {again}"
        )
    if sha256(path) != digest:
        raise ValueError(f"{path} is not the file its manifest describes (SHA-256); {again}")
    return ids


def conversation_starts(ids: np.ndarray) -> np.ndarray:
    """Where each conversation begins, and where the last one ends: int64."""
    block = 1 << 24
    ends = [np.flatnonzero(ids[i : i + block] == ENDOFTEXT) + i for i in range(0, len(ids), block)]
    starts = np.concatenate([[-1], *ends]) + 1
    return starts if starts[-1] == len(ids) else np.append(starts, len(ids))


def conversation_keys(ids: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """64 bits (uint64) that identify the ids of each conversation, wherever it is."""
    digest, data = xxhash.xxh3_64_intdigest, ids.view(np.uint8).data
    pairs = pairwise((2 * starts).tolist())
    return np.fromiter((digest(data[a:b]) for a, b in pairs), np.uint64, len(starts) - 1)


def ids_in_use(ids: np.ndarray) -> np.ndarray:
    """The distinct ids of a split, sorted; a block at a time, so that memory stays small."""
    seen = np.zeros(1 << 16, dtype=bool)
    for i in range(0, len(ids), 1 << 24):
        seen[ids[i : i + (1 << 24)]] = True
    return np.flatnonzero(seen)


def recipe_command(name: str) -> str:
    """How to prepare dataset `name`: its recipe if there is one, else where to look."""
    if (ROOT / "data" / f"prepare-{name}.py").exists():
        return f"run python data/prepare-{name}.py"
    return "python data/prepare.py --list shows every dataset"

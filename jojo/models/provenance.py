"""What a model was made from, as a checkpoint keeps it and as anybody may read it.

    data = of_data(manifest)                # a dataset: licence, sources with hashes, sizes
    below = made_from("models/base.pt")     # a model to train further, and what that came from
    stages = stages_of(facts, data_dir)     # the same read again from a model's facts
    facts = public_facts(facts)             # what of them a published file may hold

A checkpoint stays with who made it and keeps the names of its dataset and its base. What is
published goes through `stages_of` and jojo/export/publish.py: they tell no folder of this
machine, no file that was learned from, and where people's own files were learned from, or nobody
knows what was, no name that somebody gave: those of datasets, runs and checkpoints hold people's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jojo.data.bins import Manifest, manifest_path
from jojo.data.contract import SPLITS, private_of
from jojo.files import is_plain_name
from jojo.models import checkpoint
from jojo.models.names import ENDINGS, HUB_ID, HUB_IDS, NAMES

# Licences by their names on the hub, the strictest last; one that is not here counts as unknown.
# https://huggingface.co/docs/hub/repositories-licenses
LICENCES = (
    *("unlicense", "cc0-1.0", "pddl", "mit", "apache-2.0"),
    *("cdla-permissive-1.0", "cdla-permissive-2.0", "odc-by", "cc-by-3.0", "cc-by-4.0"),
    *("cdla-sharing-1.0", "odbl", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
)
WORDNETS = "wordnet-3.0-licence"  # not on the hub; it asks for no more than MIT's does
BASES = {name: "Apache-2.0" if "distil" in name else "MIT" for name in HUB_IDS.values()}
NAMELESS = "a checkpoint"
TUNED = re.compile(r"init_from|finetune|train_chatbot")  # in a command


@dataclass(frozen=True)
class Stage:
    """A model and its data, as far as they are known; without `source` the one in question."""

    source: str | None  # owner/name of the hub, a file's name, or NAMELESS
    data: dict | None  # as `of_data` makes it; what other people wrote may be of any types

    @property
    def licence(self) -> str:
        """As it is stated; empty where none is."""
        told = (self.data or {}).get("licence") or BASES.get(self.source or "")
        return told if isinstance(told, str) else ""

    @property
    def is_own(self) -> bool:
        """Whether it learned from files of whoever trained it."""
        return private_of(self.data or {}) is True

    @property
    def is_private(self) -> bool:
        """Whether names that somebody gave are to be kept back: what it learned from is somebody's
        own, or not known."""
        told = private_of(self.data or {})
        return told if told is not None else not HUB_ID.fullmatch(self.source or "")


def of_data(manifest: Manifest) -> dict:
    """What is worth telling of a dataset; of people's own files their hashes, not their names."""
    own = manifest.private is not False
    quality = manifest.notes.get("quality") or {}
    return {
        "name": "" if own else manifest.name,
        "licence": manifest.licence,
        "private": manifest.private,
        "sources": [_nameless(s) if own else s for s in manifest.sources],
        "template": manifest.template,
        "languages": quality.get("figures", {}).get("languages", {}),
        **{n: dict(getattr(manifest, n)) for n in ("tokens", "conversations", "sha256")},
    }


def _nameless(source: str) -> str:
    """A source as manifests note it, without the name of a file, folder or dataset."""
    _, mark, digest = source.rpartition(" sha256:")
    if mark:
        return f"a file{mark}{digest}"
    if mixed := re.fullmatch(r".* ([0-9a-f]{16}-[0-9a-f]{16})", source):
        return f"a dataset {mixed[1]}"
    return "a folder" if source.startswith("folder ") else source


def made_from(source: str) -> list[dict]:
    """A model to train further, and what that one was made from, newest first: plain values."""
    facts = _facts_of(source)
    kept = ("data",) if "data" in facts else ("dataset", "data_hash")
    known = {name: facts[name] for name in kept if name in facts}
    return [{"source": public_name(source), **known}, *_below(facts)]


def _facts_of(source: str) -> dict:
    """What is known of a model; of one of the hub only if it is on this machine."""
    from jojo.models import hf

    path, hub_id = Path(source).expanduser(), public_name(source)
    if path.is_file():
        return checkpoint.load(path)
    if (path / "config.json").is_file():
        return hf.facts(path)
    if HUB_ID.fullmatch(hub_id):
        from huggingface_hub import try_to_load_from_cache

        if isinstance(config := try_to_load_from_cache(hub_id, "config.json"), str):
            return hf.facts(Path(config).parent)
    return {}


def _below(facts: dict) -> list[dict]:
    if isinstance(below := facts.get("made_from"), list):
        return [stage for stage in below if isinstance(stage, dict)]
    if isinstance(base := facts.get("base"), dict):  # of an adapter
        return [{"source": public_name(str(base.get("source")))}]
    # an older checkpoint tells it by its command alone
    return [{"source": NAMELESS}] if TUNED.search(str(facts.get("command"))) else []


def stages_of(facts: dict, data_dir: Path | None, source: str = "") -> list[Stage]:
    """The model that `facts` are of, opened from `source`, and what it was made from."""
    found = [Stage(None, _data_of(facts, data_dir))]
    for stage in _below(facts):
        found.append(Stage(public_name(str(stage.get("source"))), _data_of(stage, data_dir)))
    name = public_name(source)
    if len(found) == 1 and not found[0].data and HUB_ID.fullmatch(name):
        return [Stage(name, None)]  # not trained here
    if any(stage.is_private for stage in found):
        return [found[0], *(replace(s, source=_unnamed(s.source)) for s in found[1:])]
    return found


def _unnamed(source: str) -> str:
    return source if HUB_ID.fullmatch(source) else NAMELESS


def _data_of(facts: dict, data_dir: Path | None) -> dict | None:
    """What is known of the data; of older checkpoints from the manifest, if it is in `data_dir`."""
    data, name, digest = (facts.get(x) for x in ("data", "dataset", "data_hash"))
    if isinstance(data, dict):
        return data
    if not isinstance(digest, str):
        return None
    is_name = data_dir is not None and isinstance(name, str) and is_plain_name(name)
    if is_name and (path := manifest_path(name, data_dir)).is_file():
        try:
            manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
            manifest.check()
            if manifest.hash == digest:
                return of_data(manifest)
        except (TypeError, ValueError, AttributeError):  # no manifest: as if it were gone
            pass
    return {"sha256": dict(zip(SPLITS, digest.split("-"), strict=False))}


def strictest(licences: Sequence[str]) -> str | None:
    """The hub's name for the strictest of some licences; None where one is not known, unless
    another forbids commercial use."""
    parts = [part.partition(" (")[0] for text in licences for part in re.split(r" \+ |; ", text)]
    names = {part.strip().lower().replace(" ", "-") for part in parts} - {WORDNETS}
    worst = max((name for name in names if name in LICENCES), key=LICENCES.index, default=None)
    return worst if "-nc" in (worst or "") or names <= set(LICENCES) else None


# ---------------------------------------------------------------- what may be shown


def public_name(source: str) -> str:
    """owner/name of the hub, or the last name of a path."""
    path = Path(source).expanduser()
    if source in NAMES and not (path / "config.json").is_file():
        return NAMES[source]
    on_hub = HUB_ID.fullmatch(source) and path.suffix not in ENDINGS and not path.exists()
    return source if on_hub else re.split(r"[/\\]", source.rstrip("/\\"))[-1]

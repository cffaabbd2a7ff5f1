"""Trained models to start from or to talk to, whatever they lie in.

    model, facts = load_model("models/chat5000.pt")      # ready to generate, adapters merged in
    base = open_base("gpt2", device)                     # to be fine-tuned

A source is a checkpoint, an adapter (which names its base), a Hugging Face folder, a name of NAMES
or owner/name of the hub.

Nothing heavy is imported before a model is opened.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.command import say
from jojo.models.names import HUB_ID, NAMES, check_name, path_of

if TYPE_CHECKING:
    import torch

    from jojo.models.lora import LoRA
    from jojo.models.weights import Vocabulary
    from model import GPT, GPTConfig

BASE_FLAG = "`base` of gen.py, interact.py or eval.py"


@dataclass
class Base:
    """A model to start from. With `adapter`, it is the base of that adapter, not yet applied."""

    model: GPT  # float32, in evaluation mode, its vocabulary grown to ours
    facts: dict  # at least "template"; of a checkpoint all that it tells
    hash: str  # of the weights as they lie in the source
    source: str  # to write down: owner/name of the hub, or an absolute path
    adapter: dict | None = None  # content of an adapter checkpoint


# ---------------------------------------------------------------- opening


def open_base(source: str, device: torch.device | str = "cpu", base: str | None = None) -> Base:
    """Open a model to train further. Of an adapter that is its base, where the adapter says it lies
    or at `base`; the adapter is handed back beside it, not applied."""
    return _open(str(source), device, base, ())


def load_model(
    source: str, device: torch.device | str = "cpu", base: str | None = None
) -> tuple[GPT, dict]:
    """(model in evaluation mode, float32; what is known of it). Adapters are merged in."""
    found = merged(_open(str(source), device, base, ()), str(source))
    return found.model, found.facts


def chain(source: str) -> list[str]:
    """A source and, of an adapter, the base that it names, and so on."""
    check_name(source)
    found = [source]
    while (path := path_of(found[-1])).is_file():
        from jojo.models import checkpoint

        base = checkpoint.load(path).get("base")
        below = str(base.get("source")) if isinstance(base, dict) else None
        if below is None or below in found:
            break
        found.append(below)
    return found


def read_config(source: str) -> GPTConfig:
    """The shape of a model, read without its weights."""
    check_name(source)
    path = path_of(source)
    if path.is_file():
        from jojo.models import checkpoint

        return checkpoint.config_of(checkpoint.load(path), path)
    from jojo.models import hf_config

    return hf_config.read_config(folder_of(source)[0])


def folder_of(source: str) -> tuple[Path, str]:
    """A Hugging Face folder, downloaded if need be; and how to write it down."""
    path = path_of(source)
    # a folder of that name counts before the name, as everywhere; an accidental one does not
    if path.is_dir() and (source not in NAMES or (path / "config.json").exists()):
        return path, str(path.resolve())
    from jojo.models import hub

    hub_id = NAMES.get(source, source)
    return hub.fetch(hub_id), hub_id


def _open(source: str, device, base: str | None, seen: tuple[Path, ...]) -> Base:
    check_name(source)
    path = path_of(source)
    if path.is_file():
        return _open_checkpoint(path.resolve(), device, base, seen)
    if base is not None:
        raise ValueError(f"{source} is not an adapter and has no base: leave out `base`")
    folder, written = folder_of(source)
    return _open_folder(folder, device, written)


def _open_checkpoint(path: Path, device, base: str | None, seen: tuple[Path, ...]) -> Base:
    from jojo.models import checkpoint

    content = checkpoint.load(path)
    if "adapter" in content:
        return _open_adapter(path, content, device, base, (*seen, path))
    if base is not None:
        raise ValueError(f"{path} is a whole model, not an adapter: leave out `base`")
    model, facts = checkpoint.load_model(path, device)
    return _base(model, facts, str(path))


def _open_folder(folder: Path, device, source: str) -> Base:
    from jojo.models import hf, hf_config, hf_tokenizer
    from jojo.models.weights import build

    config = hf_config.read_config(folder)
    vocabulary = hf_tokenizer.read_vocabulary(folder, config.vocab_size)
    facts = hf.facts(folder)
    if vocabulary.dropped:
        say(f"note: tokens of {source} that Jojo has no use for: {', '.join(vocabulary.dropped)}")
    model = build(config, hf.read_tensors(folder, config), device)
    return _base(model, facts, source, vocabulary)


def _base(model: GPT, facts: dict, source: str, vocabulary: Vocabulary | None = None) -> Base:
    from jojo.models.weights import grow, hash_of

    found = Base(model, facts, hash_of(model), source)
    grow(model, vocabulary)
    return found


# ---------------------------------------------------------------- adapters


def _open_adapter(path: Path, content: dict, device, base: str | None, seen) -> Base:
    from jojo.models import checkpoint

    try:
        source, wanted = str(content["base"]["source"]), str(content["base"]["hash"])
        template, shape = content["template"], asdict(checkpoint.config_of(content, path))
        of_adapter(content)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{path} is not a whole adapter: it does not name its base") from None
    where = base if base is not None else _where_is(source, path, seen)
    found = merged(_open(where, device, None, seen), where)  # which may be an adapter itself
    if found.hash != wanted:
        raise ValueError(
            f"adapter {path} was trained on another base: {source} had the hash {wanted[:12]}, "
            f"{where} has {found.hash[:12]}; name the right one with {BASE_FLAG}"
        )
    config = {n: v for n, v in asdict(found.model.config).items() if n != "dropout"}
    if differing := [n for n, v in config.items() if v != shape[n]]:
        raise ValueError(
            f"adapter {path} was trained on another base: the {differing[0]} of {where} differs; "
            f"name the right one with {BASE_FLAG}"
        )
    facts = {**found.facts, "template": template}
    return replace(found, facts=facts, adapter=content)


def _where_is(source: str, adapter: Path, seen: tuple[Path, ...]) -> str:
    """The base that an adapter names: there, beside the adapter, or on the hub."""
    beside = adapter.parent / Path(source).name
    for place in (Path(source), beside):
        if place.exists():
            if place.resolve() in seen:
                raise ValueError(
                    f"the base of adapter {adapter} was {place}, and there is an adapter there "
                    f"now: name a copy of the base with {BASE_FLAG}"
                )
            if place.is_absolute():
                return str(place)
    if HUB_ID.fullmatch(source):
        return source
    raise ValueError(
        f"adapter {adapter} needs its base {source}, which is not there: put {beside.name} beside "
        f"the adapter, or name it with {BASE_FLAG}"
    )


def merged(found: Base, source: str) -> Base:
    """`found` with its adapter, if there is one, added to its weights."""
    if found.adapter is None:
        return found
    from jojo.models import lora
    from jojo.models.weights import fingerprint

    how, state = of_adapter(found.adapter), found.adapter["adapter"]
    try:
        lora.adapt(found.model, how)
        lora.load_adapter_state(found.model, state)
    except (TypeError, AttributeError, ValueError) as error:
        detail = f": {error}" if isinstance(error, ValueError) else ""
        raise ValueError(f"{source} is not an adapter of its base {found.source}{detail}") from None
    lora.merge(found.model)
    digest = fingerprint(state, f"{found.hash} {how.scale}")
    facts = {n: v for n, v in found.adapter.items() if n not in ("adapter", "lora")}
    return Base(found.model.eval(), facts, digest, str(path_of(source).resolve()))


def of_adapter(content: dict) -> LoRA:
    """How an adapter was made; KeyError, TypeError or ValueError where it is spoiled."""
    from jojo.models.lora import LoRA

    how = content["lora"]
    alpha, dropout = float(how["alpha"]), float(how["dropout"])
    return LoRA(int(how["rank"]), alpha, dropout, tuple(map(str, how["targets"])))


def check_not_base(path: Path, source: str, facts: dict, base: str | None) -> None:
    """ValueError where `path` is what the adapter at `source` was trained on, which it needs.

    `facts`: what the adapter tells; `base`: where its base was said to lie.
    """
    named = facts.get("base")
    if base is not None:
        places = [path_of(base)]
    elif isinstance(named, dict):
        place = Path(str(named.get("source")))
        places = [place, path_of(source).parent / place.name]
    else:  # no adapter
        places = []
    if any(path.resolve() == place.resolve() for place in places):
        raise ValueError(
            f"{path} is the base of the adapter {source}, which needs it: choose another place"
        )

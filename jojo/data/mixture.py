"""Mixtures: several prepared datasets as one, each with its share of the training tokens.

    mix(["chitchat", "chat"], [3, 1], "mix", data_dir)

Writes <data_dir>/mix-train.bin, mix-val.bin and mix.json, of whole conversations, shuffled.

How much of each set is taken: the least for which every set is used whole at least once, so that
nothing that was prepared is wasted. Where this would use a set more than `max_repeats` times, the
total shrinks until it does not, and the other sets are cut. Four times is the most that is nearly
as good as new text (Muennighoff et al. 2023, https://arxiv.org/abs/2305.16264). A set is used in
whole passes; the last one is a random part of its conversations. Without weights each is used once.

Validation is that of all sets, each conversation once and unweighted; a training conversation
that is also in it, word for word, is dropped. A set that holds nothing out contributes none; if no
set holds anything out, validation is a copy of training.

Documents may be mixed with ChatML conversations: a mixture of both is ChatML, in which they are raw
text without turns, ended by <|endoftext|>. `--loss_on assistant` learns nothing of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jojo.command import say
from jojo.data.bins import (
    Dataset,
    DatasetWriter,
    Manifest,
    conversation_keys,
    conversation_starts,
    open_dataset,
)
from jojo.data.contract import COPY_OF_TRAIN
from tokenizer import ENDOFTEXT

BLOCK_TOKENS = 1 << 20  # written at once
IN_VALIDATION = "also in a validation split"
REPEATED = "in several sets, repeated too often"
VALIDATION_COPY = "validation: in several sets"
CUT = "cut to its share"


@dataclass
class Source:
    """One split of a dataset, by the places where its conversations begin."""

    name: str
    ids: np.ndarray  # uint16, on disk
    starts: np.ndarray  # int64, one more than there are conversations
    keys: np.ndarray  # uint64, what each says
    usable: np.ndarray  # int64, indices of the conversations that may be taken

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    @property
    def tokens(self) -> int:
        return int(self.lengths[self.usable].sum())


def mix(
    names: Sequence[str],
    weights: Sequence[float] | None,
    name: str,
    data_dir: Path,
    *,
    max_repeats: int = 4,
    seed: int = 1337,
) -> Manifest:
    """Write the mixture `name` of prepared datasets and say what became of each."""
    datasets = [open_dataset(n, data_dir) for n in names]
    template = common_template({d.manifest.name: d.manifest.template for d in datasets})
    dropped: Counter[str] = Counter()
    val = [_source(d, "val") for d in datasets if d.manifest.holds_out]
    records_in = sum(len(s.keys) for s in val)
    dropped[VALIDATION_COPY] += _drop_known(val) if val else 0
    train = [_source(d, "train") for d in datasets]
    records_in += sum(len(s.keys) for s in train)
    held_out = _keys(val)
    for source in train:
        dropped[IN_VALIDATION] += _keep(source, ~np.isin(source.keys, held_out))
        if not len(source.usable):
            raise ValueError(
                f"everything in {source.name} is also in a validation split: leave it out"
            )
    rng = np.random.default_rng(seed)
    wanted = shares([s.tokens for s in train], weights, [_passes(s, max_repeats) for s in train])
    chosen = [_choose(s, n, rng) for s, n in zip(train, wanted, strict=True)]
    chosen, too_many = _at_most(train, chosen, max_repeats)
    dropped[REPEATED] += too_many
    for source, units in zip(train, chosen, strict=True):
        if not len(units):
            raise ValueError(
                f"nothing of {source.name} is left with these weights: give it more, or less to "
                "the others, or raise `max_repeats`"
            )
        dropped[CUT] += len(source.usable) - len(np.unique(units))
    # a conversation that is used several times is read as often
    records_in += too_many + sum(len(u) - len(np.unique(u)) for u in chosen)
    facts = _facts(datasets, train, chosen, weights)
    has_text = all((Path(data_dir) / f"{n}-train.txt").exists() for n in names)
    with DatasetWriter(data_dir, name, template=template, write_text=has_text) as writer:
        for split, sources, units in (
            ("val", val, [s.usable for s in val]),
            ("train", train, chosen),
        ):
            if sources:
                _write(writer, split, sources, units, rng)
        kept = sum(writer.conversations.values())
        assert records_in == kept + sum(dropped.values()), (records_in, kept, dropped)
        notes = {"mixture": facts, "max_repeats": max_repeats}
        if not val:
            writer.repeat_train()
            notes["val"] = COPY_OF_TRAIN
        manifest = writer.commit(
            licence=" + ".join(
                dict.fromkeys(d.manifest.licence or "none stated" for d in datasets)
            ),
            private=any(d.manifest.private is not False for d in datasets),
            sources=[f"{d.manifest.name} {d.manifest.hash}" for d in datasets]
            + list(dict.fromkeys(s for d in datasets for s in d.manifest.sources)),
            seed=seed,
            records_in=records_in,
            dropped={reason: n for reason, n in dropped.most_common() if n},
            notes=notes,
        )
    _report(manifest)
    return manifest


def common_template(templates: Mapping[str, str]) -> str:
    """That of a mixture of sets with these, by name; ValueError if they cannot be mixed."""
    found = set(templates.values())
    if found == {"text", "chatml"}:
        return "chatml"
    if len(found) > 1:
        each = ", ".join(f"{name} is {template}" for name, template in templates.items())
        raise ValueError(
            f"a mixture has one template, but {each}: mix sets of one template, or text with chatml"
        )
    return found.pop()


def _source(dataset: Dataset, split: str) -> Source:
    ids, name = dataset.ids[split], dataset.manifest.name
    if ids[-1] != ENDOFTEXT:
        raise ValueError(f"{name}-{split}.bin does not end in <|endoftext|>: prepare it again")
    starts = conversation_starts(ids)
    keys = conversation_keys(ids, starts)
    return Source(name, ids, starts, keys, np.arange(len(keys)))


def _drop_known(sources: Sequence[Source]) -> int:
    """Keep the first of conversations that occur several times in `sources`; how many went."""
    keys = _keys(sources)
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    parts = np.split(first, np.cumsum([len(s.keys) for s in sources])[:-1])
    return sum(_keep(source, part) for source, part in zip(sources, parts, strict=True))


def _keys(sources: Sequence[Source]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.uint64), *(s.keys for s in sources)])


def _keep(source: Source, keep: np.ndarray) -> int:
    source.usable = np.flatnonzero(keep)
    return len(keep) - len(source.usable)


def _passes(source: Source, max_repeats: int) -> int:
    """How often it may be used: a set that is a mixture itself may hold a conversation often."""
    _, counts = np.unique(source.keys[source.usable], return_counts=True)
    return max(1, max_repeats // int(counts.max()))


def shares(
    tokens: Sequence[int], weights: Sequence[float] | None, passes: Sequence[int]
) -> list[float]:
    """Tokens to take of each set: in proportion to `weights`, so many that each set is used whole
    at least once, if none is then used more than its `passes`; else as many as these allow."""
    if weights is None:
        return [float(n) for n in tokens]
    whole = max(n / w for n, w in zip(tokens, weights, strict=True))
    most = min(n * p / w for n, p, w in zip(tokens, passes, weights, strict=True))
    return [w * min(whole, most) for w in weights]


def _choose(source: Source, wanted: float, rng: np.random.Generator) -> np.ndarray:
    """Indices of conversations with about `wanted` tokens: whole passes, then a random part."""
    passes = int(wanted / source.tokens + 1e-9)
    order = rng.permutation(source.usable)
    reached = np.cumsum(source.lengths[order])
    rest = wanted - passes * source.tokens
    n = int(np.searchsorted(reached, rest, side="right"))
    if n < len(order):  # one more where that comes closer
        below = int(reached[n - 1]) if n else 0
        n += rest - below > reached[n] - rest
    return np.concatenate([source.usable] * passes + [order[:n]])


def _at_most(
    sources: Sequence[Source], chosen: list[np.ndarray], max_repeats: int
) -> tuple[list[np.ndarray], int]:
    """Drop what several sets together would repeat too often; returns how many went."""
    keys = np.concatenate([s.keys[units] for s, units in zip(sources, chosen, strict=True)])
    order = np.argsort(keys, kind="stable")
    at = np.arange(len(keys))
    begins = np.append(True, keys[order[1:]] != keys[order[:-1]])
    nth = at - np.maximum.accumulate(np.where(begins, at, 0))  # of those that say the same
    keep = np.zeros(len(keys), dtype=bool)
    keep[order] = nth < max_repeats
    parts = np.split(keep, np.cumsum([len(units) for units in chosen])[:-1])
    kept = [units[part] for units, part in zip(chosen, parts, strict=True)]
    return kept, int((~keep).sum())


def _write(
    writer: DatasetWriter,
    split: str,
    sources: Sequence[Source],
    chosen: Sequence[np.ndarray],
    rng: np.random.Generator,
) -> None:
    """All chosen conversations in one random order, a block at a time."""
    ids = [np.asarray(s.ids) for s in sources]
    which = np.repeat(np.arange(len(sources), dtype=np.int32), [len(u) for u in chosen])
    units = np.concatenate(chosen)
    order = rng.permutation(len(units))
    which, units = which[order], units[order]
    starts, stops = np.empty((2, len(units)), dtype=np.int64)
    for i, source in enumerate(sources):
        mine = which == i
        starts[mine], stops[mine] = source.starts[units[mine]], source.starts[units[mine] + 1]
    reached = np.cumsum(stops - starts)
    begin = 0
    while begin < len(units):
        before = int(reached[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(reached, before + BLOCK_TOKENS)))
        places = zip(
            which[begin:end].tolist(),
            starts[begin:end].tolist(),
            stops[begin:end].tolist(),
            strict=True,
        )
        writer.add(split, np.concatenate([ids[i][a:b] for i, a, b in places]), end - begin)
        begin = end


def _facts(
    datasets: Sequence[Dataset],
    sources: Sequence[Source],
    chosen: Sequence[np.ndarray],
    weights: Sequence[float] | None,
) -> dict[str, dict]:
    """What was taken of each set, for the manifest and the report."""
    tokens = [int(s.lengths[units].sum()) for s, units in zip(sources, chosen, strict=True)]
    asked = weights or [s.tokens for s in sources]
    return {
        source.name: {
            "weight": weights[i] if weights else None,
            "conversations": len(chosen[i]),
            "different_conversations": len(np.unique(chosen[i])),
            "tokens": tokens[i],
            "times_used": round(tokens[i] / source.tokens, 4),
            "share_asked": round(asked[i] / math.fsum(asked), 6),
            "share_got": round(tokens[i] / sum(tokens), 6),
            "template": datasets[i].manifest.template,
            "records_in": datasets[i].manifest.records_in,
            "dropped": datasets[i].manifest.dropped,
            "holds_out": datasets[i].manifest.holds_out,
        }
        for i, source in enumerate(sources)
    }


def _report(manifest: Manifest) -> None:
    mixture = manifest.notes["mixture"]
    lines = [
        f"{manifest.name}: {manifest.records_in:,} records in (one that is used twice counts twice)"
    ]
    lines += [f"  {n:>11,}  dropped: {reason}" for reason, n in manifest.dropped.items()]
    mixed = len({facts["template"] for facts in mixture.values()}) > 1
    kind = "conversations and documents" if mixed else "conversations"
    for split, n in manifest.conversations.items():
        copied = f" ({COPY_OF_TRAIN})" if split == "val" and not manifest.holds_out else ""
        tokens = f"{manifest.tokens[split]:,} tokens{copied}"
        lines.append(f"  {n:>11,}  {kind} in {split}, {tokens}")
    width = max(len("set"), *map(len, mixture))
    lines.append(f"  {'set':<{width}}  conversations        tokens   used   asked     got")
    for name, facts in mixture.items():
        lines.append(
            f"  {name:<{width}}  {facts['conversations']:>13,}  {facts['tokens']:>12,}"
            f"  {facts['times_used']:>4.2f}x"
            f"  {facts['share_asked']:>6.1%}  {facts['share_got']:>6.1%}"
        )
    say("\n".join(lines))

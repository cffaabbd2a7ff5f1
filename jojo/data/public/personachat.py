"""Persona-Chat (ConvAI2): two people get to know each other, each with a persona to play.

Zhang et al. 2018, https://arxiv.org/abs/1801.07243. Reads ParlAI's text files (with and without
candidates) alone or in their archive, and the releases of the hub as parquet or JSON. All were
lower-cased and cut into words; both are undone. The persona is the system message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.data.clean.detokenize import detokenize
from jojo.data.clean.truecase import truecase
from jojo.data.formats.records import Unusable, read_records
from jojo.data.public import origins
from jojo.data.public.dialogues import (
    Raw,
    alternating,
    conversations_of,
    lines,
    official_split,
    spoken,
    with_splits,
)

if TYPE_CHECKING:
    from jojo.data.contract import PrepareOptions, Tally
    from jojo.data.formats.records import Skip
    from jojo.text.template import Conversation, Message

FACTS = origins.PUBLIC_DATASETS["convai2"]
KINDS = ("_self_original_no_cands.txt", "_self_original.txt", ".parquet", ".json")  # best first
LINE = re.compile(r"(\d+) (?:(your persona|partner's persona): )?(.*)")
SILENCE = re.compile(r"_+ ?silence ?_+", re.IGNORECASE)  # who has the second word waits


def conversations(options: PrepareOptions, tally: Tally) -> Iterator[Conversation]:
    with origins.opened(origins.raw("convai2", options, tally)) as files:
        yield from conversations_of(_records(files, tally), _messages, tally)


def _records(files: list[Path], tally: Tally) -> Iterator[Raw]:
    """Each dialogue as (persona, texts). The archive holds each in several forms: one is read."""
    for kind in KINDS:
        if chosen := [f for f in files if f.name.endswith(kind)]:
            break
    else:
        chosen = files if len(files) == 1 else []
    if not chosen:
        raise ValueError(
            f"{files[0].parent if files else 'the folder'} holds no *{KINDS[0]}, *.parquet or "
            "*.json of Persona-Chat"
        )
    for path, split in with_splits(chosen):
        tally.used(path)
        if path.suffix in (".parquet", ".json", ".jsonl"):
            yield from _from_records(path, split, tally)
        else:
            yield from _from_text(path, split)


def _from_text(path: Path, split: str | None) -> Iterator[Raw]:
    """`1 your persona: ...` opens a dialogue, `5 what they say<TAB>reply` continues it."""
    start, persona, texts = None, [], []
    for where, line in lines(path):
        match = LINE.fullmatch(line)
        if match is None:
            raise ValueError(
                f"{path.parent / where}: no '1 your persona: ...' and no '5 text"
                "<TAB>reply'; is this a file of Persona-Chat?"
            )
        number, whose, text = match.groups()
        if number == "1" and start:
            yield Raw(start, split, (persona, texts))
            start, persona, texts = None, [], []
        start = start or where
        if whose is None:
            texts.append(text.split("\t")[:2])
        elif whose == "your persona":
            persona.append(text)
    if start:
        yield Raw(start, split, (persona, texts))


def _from_records(path: Path, split: str | None, tally: Tally) -> Iterator[Raw]:
    """Records {"personality", "utterances": [{"history", "candidates"}]}; in JSON by split."""
    for where, value in read_records(path, tally):
        if not _is_by_split(value):
            yield Raw(where, split, value)
            continue
        for name in sorted(value, reverse=True):  # valid before train
            for i, record in enumerate(value[name], start=1):
                yield Raw(f"{path.name}, {name} {i}", official_split(name), record)


def _is_by_split(value: object) -> bool:
    return isinstance(value, dict) and all(
        official_split(name) and isinstance(records, list) for name, records in value.items()
    )


def _messages(value: object, skip: Skip) -> list[Message]:
    if not isinstance(value, tuple):
        persona, texts = _of_record(value)
    else:
        persona, pairs = value
        if any(len(pair) < 2 for pair in pairs):
            raise Unusable("a line without a reply")
        texts = [text for pair in pairs for text in pair]
    texts = ["" if SILENCE.fullmatch(text.strip()) else restored(text) for text in texts]
    return spoken(alternating(texts), system_message(persona))


def _of_record(record: object) -> tuple[list[str], list[str]]:
    try:
        last = record["utterances"][-1]
        persona, texts = record["personality"], [*last["history"], last["candidates"][-1]]
        fine = all(isinstance(text, str) for text in [*persona, *texts])
    except (KeyError, IndexError, TypeError):
        fine = False
    if not fine:
        raise Unusable("no dialogue of Persona-Chat")
    return persona, texts


def restored(text: str) -> str:
    """Spacing and capitals of a text that was cut into lower-case words."""
    return truecase(detokenize(text))


def system_message(persona: Iterable[str]) -> str | None:
    """What the assistant is told about who it is."""
    facts = [restored(fact) for fact in persona if fact.strip()]
    facts = [fact if fact[-1] in ".!?" else f"{fact}." for fact in facts if fact]
    return f"You are talking as this person: {' '.join(facts)}" if facts else None

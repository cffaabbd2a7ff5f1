"""BlendedSkillTalk: 6,808 conversations that show personality, knowledge and empathy.

Smith et al. 2020, https://arxiv.org/abs/2004.08449. Reads ParlAI's JSON, alone or in its archive,
and the parquet of the hub. The second speaker was helped with suggestions and is the assistant;
its persona, and the topic where there is one, are the system message.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jojo.data.formats.records import Unusable, read_records
from jojo.data.public import origins
from jojo.data.public.dialogues import Raw, alternating, conversations_of, spoken, with_splits
from jojo.data.public.personachat import restored, system_message

if TYPE_CHECKING:
    from jojo.data.contract import PrepareOptions, Tally
    from jojo.data.formats.records import Skip
    from jojo.text.template import Conversation, Message

FACTS = origins.PUBLIC_DATASETS["blended_skill_talk"]
NAMES = ("train", "valid", "test")  # the archive holds other lists too


def conversations(options: PrepareOptions, tally: Tally) -> Iterator[Conversation]:
    with origins.opened(origins.raw("blended_skill_talk", options, tally)) as files:
        yield from conversations_of(_records(files, tally), _messages, tally)


def _records(files: list[Path], tally: Tally) -> Iterator[Raw]:
    chosen = [f for f in files if f.stem in NAMES and f.suffix == ".json"]
    chosen = (
        chosen or [f for f in files if f.suffix == ".parquet"] or (files if len(files) == 1 else [])
    )
    if not chosen:
        raise ValueError("the input has no train.json or *.parquet of BlendedSkillTalk")
    for path, split in with_splits(chosen):
        tally.used(path)
        for where, value in read_records(path, tally):
            yield Raw(where, split, value)


def _messages(record: object, skip: Skip) -> list[Message]:
    try:
        if "dialog" in record:
            persona = record["personas"][1]
            kind = record["context_dataset"]
            opening = [record["free_turker_utterance"], record["guided_turker_utterance"]]
            turns = [*alternating(opening), *map(tuple, record["dialog"])]
        else:  # of the hub
            persona, kind = record["personas"], record["context"]
            opening = record["previous_utterance"]
            said = zip(record["free_messages"], record["guided_messages"], strict=True)
            turns = alternating([*opening, *(text for pair in said for text in pair)])
        topic = record["additional_context"]
        turns = [(speaker, restored(text)) for speaker, text in turns]
        system = system_message(persona) or ""
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise Unusable("no conversation of BlendedSkillTalk") from None
    # elsewhere the context is what a persona says already, or a situation nobody was told
    if kind == "wizard_of_wikipedia" and topic:
        system += f" The topic is {topic}."
    return spoken(turns, system.strip() or None)

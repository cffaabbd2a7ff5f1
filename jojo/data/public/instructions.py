"""Questions and replies that are read in one way: Dolly, OpenAssistant, ShareGPT, Alpaca."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jojo.data.contract import PrepareOptions
from jojo.data.formats.records import Skip, kind_of, read_records
from jojo.data.formats.shapes import messages_of, oasst_best_path
from jojo.data.public import origins
from jojo.data.public.dialogues import Raw, conversations_of

if TYPE_CHECKING:
    from jojo.data.contract import Tally
    from jojo.text.template import Conversation, Message

CITATION = re.compile(r"\[\d{1,3}\]")  # Wikipedia's; the authors of Dolly advise to remove them
ESCAPED = re.compile(r"(```.*?(?:```|\Z))|\\([_*])", re.DOTALL)  # a block of code, or a sign
ADVERTISEMENT = re.compile(r"\*This chat conversation is shared from .*\*")


@dataclass
class OasstOptions(PrepareOptions):
    lang: str = "en"
    """Language of the conversations: en, de, pt-BR, ... or all."""


def dolly(options: PrepareOptions, tally: Tally) -> Iterator[Conversation]:
    def read(record: object, skip: Skip) -> list[Message]:
        messages = messages_of(record, skip)
        if isinstance(record, dict) and record.get("context"):
            for message in messages:
                message["content"], n = CITATION.subn("", message["content"])
                if n:
                    tally.change("citation numbers removed", n)
        return messages

    return conversations_of(_records("dolly", options, tally), read, tally)


def oasst(options: OasstOptions, tally: Tally) -> Iterator[Conversation]:
    lang = None if options.lang == "all" else options.lang
    return conversations_of(
        _records("oasst", options, tally), lambda tree, skip: oasst_best_path(tree, lang), tally
    )


def sharegpt(options: PrepareOptions, tally: Tally) -> Iterator[Conversation]:
    def read(record: object, skip: Skip) -> list[Message]:
        messages = []
        for message in messages_of(record, skip):
            if message["role"] == "system" and ADVERTISEMENT.fullmatch(message["content"]):
                skip("advertisement")
                continue
            content = unescaped(message["content"])
            if content != message["content"]:
                tally.change("turns without their Markdown escapes")
            if message["role"] == "assistant" and not any(m["role"] == "user" for m in messages):
                skip("reply to a question of another part")  # long chats were cut into several
                continue
            messages.append({"role": message["role"], "content": content})
        return messages

    return conversations_of(_records("sharegpt", options, tally), read, tally)


def alpaca(options: PrepareOptions, tally: Tally) -> Iterator[Conversation]:
    return conversations_of(_records("alpaca", options, tally), messages_of, tally)


def unescaped(text: str) -> str:
    r"""`user\_id` is what the page showed as user_id: an artefact of the way from HTML to
    Markdown. Blocks of code were never escaped."""
    return ESCAPED.sub(lambda m: m[1] or m[2], text) if "\\" in text else text


def _records(dataset: str, options: PrepareOptions, tally: Tally) -> Iterator[Raw]:
    path = origins.raw(dataset, options, tally)
    with origins.opened(path) as files:
        files = [file for file in files if kind_of(file)]
        if not files:
            raise ValueError(f"{path} holds no JSON, JSON lines, CSV, TSV or parquet")
        for file in files:
            tally.used(file)
            for where, record in read_records(file, tally):
                yield Raw(where, None, record)

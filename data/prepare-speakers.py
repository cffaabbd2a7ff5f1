"""Interviews and chat logs as <speaker1> and <speaker2> text, to teach a model how somebody talks.

    python data/prepare-speakers.py --data_path interviews.json
    python data/prepare-speakers.py --data_path chat.txt --as Anna

Reads whatever data/prepare-file.py reads: a JSON list of messages with `outgoing`, exports of
WhatsApp, Telegram, Discord or Slack, any records with messages; by default the only JSON in
datasets/. <speaker1> is the person to imitate: whose messages are outgoing, or --as NAME; where
somebody talks with an assistant, the assistant. Writes data/speakers-train.bin, -val.bin (and the
same as .txt) and data/speakers.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from jojo import ownchats
from jojo.files import ROOT
from jojo.prepare import Tally, main

if TYPE_CHECKING:
    from jojo.chatml import Conversation
    from jojo.sources.ownfiles import Found


@dataclass
class SpeakersOptions(ownchats.FileOptions):
    data_path: Path | None = None
    """The interviews or the chats: a file, a folder or a zip."""
    me: Annotated[str | None, tyro.conf.arg(name="as", metavar="NAME")] = None
    """Who to imitate; by default whose messages are outgoing, else who writes most."""
    system: tyro.conf.Suppress[str | None] = None
    paths: tyro.conf.Suppress[tuple[Path, ...]] = ()

    me_flag: ClassVar[str] = "--as"

    @cached_property
    def found(self) -> Found:
        self.paths = (self.data_path or only_json(ROOT / "datasets"),)
        return super().found


def speakers(options: SpeakersOptions, tally: Tally) -> Iterator[Conversation]:
    from jojo.sources.shapes import tidy

    with options.found as found:
        if found.template == "text":
            raise ValueError(
                f"{found} is plain text, in which nobody speaks: data/prepare-file.py prepares it"
            )
        for conversation in ownchats.conversations(options, tally):
            turns = [m for m in conversation.messages if m["role"] != "system"]
            systems = len(conversation.messages) - len(turns)
            tally.skip("a system message (no speaker)", systems, conversation.where)
            conversation.messages = tidy(turns)
            yield conversation


def only_json(folder: Path) -> Path:
    """The single JSON file in it."""
    found = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if len(found) != 1:
        raise ValueError(
            f"{folder} holds {len(found) or 'no'} JSON files: put a single one there, or name what "
            "to read with --data_path FILE"
        )
    return found[0]


RECIPE = replace(
    ownchats.RECIPE,
    name="speakers",
    template="speaker",
    conversations=speakers,
    options=SpeakersOptions,
)

if __name__ == "__main__":
    main(RECIPE)

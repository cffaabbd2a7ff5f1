"""Interviews and chat logs as <speaker1> and <speaker2> text, to teach a model how somebody talks.

    python data/prepare-speakers.py --data_path interviews.json
    python data/prepare-speakers.py --data_path chat.txt --as Anna

Reads a JSON list of messages with `outgoing`, or an export of WhatsApp, Telegram, Discord or Slack
(told apart by content, a zip of them too); by default the only JSON in datasets/. <speaker1> is
the person to imitate: whose messages are outgoing, or --as NAME. Writes data/speakers-train.bin,
-val.bin (and the same as .txt) and data/speakers.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from jojo.files import ROOT
from jojo.prepare import Recipe, Tally, main
from jojo.transcript import ExportOptions, conversations

if TYPE_CHECKING:
    from jojo.chatml import Conversation


@dataclass
class SpeakersOptions(ExportOptions):
    data_path: Path | None = None
    """The interviews or the chat export: a file, a folder or a zip."""
    me: Annotated[str | None, tyro.conf.arg(name="as", metavar="NAME")] = None
    """Who to imitate; by default whose messages are outgoing, else who writes most."""
    system: tyro.conf.Suppress[str | None] = None

    me_flag: ClassVar[str] = "--as"


def speakers(options: SpeakersOptions, tally: Tally) -> Iterator[Conversation]:
    from jojo.sources import exports

    path = options.data_path or only_json(ROOT / "datasets")
    if not path.exists():
        raise ValueError(f"--data_path {path} does not exist")
    yield from conversations(exports.read(path, tally), options, tally)


def only_json(folder: Path) -> Path:
    """The single JSON file in it, as the guide to transfer learning has it."""
    found = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if len(found) != 1:
        raise ValueError(
            f"{folder} holds {len(found) or 'no'} JSON files: put a single one there, or name what "
            "to read with --data_path FILE"
        )
    return found[0]


RECIPE = Recipe(
    name="speakers",
    template="speaker",
    licence="as the file that was read",
    sources=(),
    conversations=speakers,
    options=SpeakersOptions,
)

if __name__ == "__main__":
    main(RECIPE)

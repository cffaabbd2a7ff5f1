"""Your own chats as <speaker1> and <speaker2> text, to teach a model how somebody talks.

    prepare(RECIPE, SpeakersOptions(data_path=Path("interviews.json")))
    usual_template(options.found)  # "speaker" where there are interviews and nothing else

Reads what jojo/data/own/recipe.py reads, but for plain text. <speaker1> is the person to imitate:
the author of the outgoing messages, or whoever is named; in chats with an assistant, the assistant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from jojo.data.contract import Tally
from jojo.data.own import recipe
from jojo.files import ROOT

if TYPE_CHECKING:
    from jojo.data.own.found import File, Found
    from jojo.text.template import Conversation

DATASETS_FOLDER = ROOT / "datasets"  # where the file to read may lie, so that it need not be named


@dataclass
class SpeakersOptions(recipe.FileOptions):
    data_path: Path | None = None
    """The interviews or the chats: a file, a folder or a zip."""
    me: Annotated[str | None, tyro.conf.arg(name="as", metavar="NAME")] = None
    """Who to imitate; by default the author of the outgoing messages, else whoever writes most."""
    system: tyro.conf.Suppress[str | None] = None
    paths: tyro.conf.Suppress[tuple[Path, ...]] = ()

    me_setting: ClassVar[str] = "`as`"

    @cached_property
    def found(self) -> Found:
        self.paths = (self.data_path or only_json(DATASETS_FOLDER),)
        return super().found


def speakers(options: recipe.FileOptions, tally: Tally) -> Iterator[Conversation]:
    from jojo.data.formats.shapes import tidy

    with options.found as found:
        if found.template == "text":
            raise ValueError(
                f"{found} is plain text without speakers: prepare it with data/prepare-file.py"
            )
        for conversation in recipe.conversations(options, tally):
            turns = [m for m in conversation.messages if m["role"] != "system"]
            systems = len(conversation.messages) - len(turns)
            tally.skip("a system message (no speaker)", systems, conversation.where)
            conversation.messages = tidy(turns)
            yield conversation


def jsons(folder: Path) -> list[Path]:
    """The JSON files in it, except hidden ones."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in found if p.suffix.lower() == ".json" and not p.name.startswith("."))


def only_json(folder: Path) -> Path:
    """The single JSON file in it."""
    found = jsons(folder)
    if len(found) != 1:
        raise ValueError(
            f"{folder} holds {len(found) or 'no'} JSON files: put a single one there, or name what "
            "to read with `data_path` FILE"
        )
    return found[0]


def usual_template(found: Found) -> str:
    """The usual template of such chats: interviews as speakers, the rest as in prepare-file.py."""
    if found.template == "text":
        return "text"
    firsts = [record for file in found.files if (record := _first_record(file)) is not None]
    return "speaker" if firsts and all(map(_is_of_interview, firsts)) else found.template


def _first_record(file: File) -> object | None:
    """None where there is none; for a file of no records, its kind."""
    from jojo.data.formats.records import read_records

    if file.kind != "records":
        return file.kind
    try:
        return next((value for _, value in read_records(file.path, Tally())), None)
    except ValueError:  # the recipe will say so, and drop the file
        return None


def _is_of_interview(record: object) -> bool:
    from jojo.data.own import interviews

    return interviews.matches([record])


RECIPE = replace(
    recipe.RECIPE,
    name="speakers",
    template="speaker",
    conversations=speakers,
    options=SpeakersOptions,
)

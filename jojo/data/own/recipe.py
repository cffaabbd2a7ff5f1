"""Your own chats, in whatever form they are kept -> conversations.

    prepare(RECIPE, FileOptions(paths=(Path("WhatsApp.zip"), Path("notes.jsonl")), me="Anna"))

Chat exports go through jojo/data/own/transcript.py, all together, so that --me is searched in all
of them; records through jojo/data/formats/shapes.py; ChatML and labelled lines through
jojo/data/own/textchats.py. Plain text is used where there is nothing else; beside conversations it
is dropped, since it would teach a model that is to answer to go on talking. A file that cannot be
read is one record dropped; the others are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from jojo.command import UsageError
from jojo.data import recipes
from jojo.data.contract import OWN_LICENCE, Recipe, Tally, private_of
from jojo.data.own import transcript
from jojo.data.own.transcript import ExportOptions

if TYPE_CHECKING:
    from jojo.data.own.found import File, Found
    from jojo.data.own.transcript import ChatLine
    from jojo.text.template import Conversation, Message

IN_MEMORY_BYTES = 128 << 20  # near copies are searched in no more than this


@dataclass
class FileOptions(ExportOptions):
    """What to read, and how."""

    paths: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Files, folders and archives (zip, tar)."""

    @cached_property
    def found(self) -> Found:
        """Searched once, since the template depends on it too."""
        from jojo.data.own.found import Found

        if not self.paths:
            raise UsageError("give the files, folders or zips to read")
        return Found(self.paths)


def template(options: FileOptions) -> str:
    return options.found.template


def fits_in_memory(options: FileOptions) -> bool:
    return options.found.size_bytes <= IN_MEMORY_BYTES


def conversations(options: FileOptions, tally: Tally) -> Iterator[Conversation]:
    with options.found as found:
        found.note_sources(tally)
        if not options.anonymize:
            tally.notes["options"] = _how(options)
        for fault in found.faults:
            _drop_file(fault.reason, fault.where, tally)
        yield from _first_of_each(_Reader(options, found, tally).conversations(), tally)
        if not tally.records_in:
            why = ", ".join(tally.skipped)
            raise ValueError(f"{found} holds no messages" + (f" ({why})" if why else ""))


def is_prepared(options: FileOptions, template: str) -> bool:
    """Whether the dataset is there already, made of these very files in the same way."""
    from jojo.data.bins import open_dataset

    tally = Tally()
    options.found.note_sources(tally)
    try:
        manifest = open_dataset(options.name or RECIPE.name, options.out_dir).manifest
    except ValueError:  # none, or a spoilt one
        return False
    wanted = (template, tally.sources, _how(options))
    there = (manifest.template, manifest.sources, manifest.notes.get("options"))
    # only the name of a folder is known
    return wanted == there and all(path.is_file() for path in options.paths)


def _how(options: FileOptions) -> dict[str, object]:
    """The options that decide what becomes of the files, as plain values."""
    where = ("paths", "data_path", "out_dir", "name")
    given = {f.name: getattr(options, f.name) for f in fields(options) if f.name not in where}
    return {n: str(v) if isinstance(v, Path) else v for n, v in given.items() if v is not None}


def check_own_name(name: str, folder: Path) -> None:
    """ValueError where own chats of this name would replace another dataset, or another file."""
    path = folder / f"{name}.json"
    is_recipe = name in recipes.names()
    if is_recipe or (path.exists() and not _is_ours(path)):
        what = f"what data/prepare-{name}.py prepares" if is_recipe else path
        raise ValueError(
            f"your own chats would take the place of {what}: give them another name, e.g. "
            f"`dataset` {name}-own"
        )


def _is_ours(path: Path) -> bool:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return private_of(facts) is True and "mixture" not in facts["notes"]
    except (ValueError, TypeError, KeyError, AttributeError):  # no manifest
        return False


def _first_of_each(found: Iterator[Conversation], tally: Tally) -> Iterator[Conversation]:
    """Without verbatim copies, before near ones are looked for: a million would fill the memory."""
    from jojo.data.dedup import fingerprint

    seen: set[int] = set()
    for conversation in found:
        key = fingerprint([m["content"] for m in conversation.messages])
        if key in seen:
            tally.drop("exact duplicate", where=conversation.where)
        else:
            seen.add(key)
            yield conversation


def _drop_file(reason: str, name: str, tally: Tally) -> None:
    if not tally.is_full:
        tally.reject(reason, name)


class _Reader:
    def __init__(self, options: FileOptions, found: Found, tally: Tally):
        self.options, self.found, self.tally = options, found, tally
        self.is_text = found.template == "text"
        self.system = (options.system or "").strip()
        self.lines: list[ChatLine] = []  # of all exports
        self.hide = None
        if options.anonymize:
            from jojo.data.clean.anonymize import Anonymizer

            self.hide = Anonymizer([])  # who writes is known in exports alone

    def conversations(self) -> Iterator[Conversation]:
        from jojo.data.formats.textfile import DAMAGE
        from jojo.data.own.found import reason_of

        if self.is_text and self.system:
            raise ValueError(f"`system` needs conversations, but {self.found} is plain text")
        for file in self.found.files:
            if self.tally.is_full:
                return
            try:
                if file.is_text and not self.is_text:
                    _drop_file("plain text beside conversations", file.name, self.tally)
                else:
                    yield from self._of_file(file)
            except (ValueError, OSError, *DAMAGE) as error:
                _drop_file(reason_of(error, file.path), file.name, self.tally)
        if self.lines:
            yield from transcript.to_conversations(self.lines, self.options, self.tally)
        elif self.options.me is not None and not self.tally.is_full:
            raise ValueError(
                f"{self.options.me_setting} {self.options.me!r} names nobody: {self.found} has no "
                "chat export with names in it"
            )

    def _of_file(self, file: File) -> Iterator[Conversation]:
        from jojo.data.own import slack, textchats, whatsapp

        if file.kind == "slack":
            self.lines += slack.read(file.path, file.name, self.tally)
        elif file.kind == "whatsapp":
            with file.opened(self.tally) as text:
                self.lines += whatsapp.read(text.read(), file.name, self.tally)
        elif file.kind == "names":
            with file.opened(self.tally) as text:
                self.lines += [
                    transcript.ChatLine(None, who, what, f"{file.name}, line {line}", file.name)
                    for line, who, what in textchats.said(text)
                ]
        elif file.kind == "text":
            size = textchats.piece_size(self.found.size_bytes)
            with file.opened(self.tally) as text:
                for line, document in self.tally.records(textchats.split_documents(text, size)):
                    yield from self._document(document, f"{file.name}, line {line}")
        elif file.kind in ("chatml", "dialogue"):
            roles = None
            with file.opened(self.tally) as text:
                for line, part in textchats.parts(text):
                    roles = textchats.labels(part) or roles if file.kind == "dialogue" else None
                    yield from self._written(part, roles, f"{file.name}, line", line)
        else:
            yield from self._records(file)

    def _records(self, file: File) -> Iterator[Conversation]:
        from jojo.data.own import textchats
        from jojo.data.own.found import export_of, values

        for where, value in values(file, self.tally):
            if export := export_of(value):
                self.lines += export.read(value, where, self.tally)
                continue
            text = textchats.text_of(value)
            if text and not self.is_text and textchats.is_chat(text):
                yield from self._written(text, textchats.labels(text), where)
                continue
            for _ in self.tally.records([value]):
                if text and self.is_text:
                    yield from self._document(text, where)
                elif text:
                    self.tally.drop("plain text beside conversations", where=where)
                else:
                    yield from self._conversation(value, where)

    def _written(
        self, text: str, roles: dict[str, str] | None, where: str, line: int | None = None
    ) -> Iterator[Conversation]:
        """Of a text that holds conversations; `line`: where it begins."""
        from jojo.data.own import textchats

        skip = partial(self.tally.skip, where=f"{where} {line}" if line else where)
        for turns in self.tally.records(
            textchats.split_conversations(text, line or 1, roles, skip)
        ):
            at = f"{where} {turns[0].line}" if line else where
            yield from self._conversation([t.as_message() for t in turns], at)

    def _conversation(self, value: object, where: str) -> Iterator[Conversation]:
        """The conversation of a record that has been counted, if it is one."""
        from jojo.data.formats.records import Unusable
        from jojo.data.formats.shapes import messages_of, tidy
        from jojo.text.template import Conversation

        skip = partial(self.tally.skip, where=where)
        try:
            messages = self._hidden(tidy(messages_of(value, skip), skip))
        except Unusable as error:
            if value and isinstance(value, dict) and str(error) == "no known shape":
                where += f": {', '.join(map(str, list(value)[:8]))}"  # its keys
            self.tally.drop(str(error), where=where)
            return
        if self.system and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": self.system})
        yield Conversation(messages, where=where)

    def _document(self, text: str, where: str) -> Iterator[Conversation]:
        from jojo.text.template import Conversation

        if text := text.strip():
            message = {"role": "assistant", "content": text}
            yield Conversation(self._hidden([message]), where=where)
        else:
            self.tally.drop("empty", where=where)

    def _hidden(self, messages: list[Message]) -> list[Message]:
        if not self.hide:
            return messages
        messages, replaced = self.hide(messages)
        for what, n in replaced.items():
            self.tally.change(what, n)
        return messages


RECIPE = Recipe(
    name="mine",
    template=template,
    licence=OWN_LICENCE,
    sources=(),
    private=True,
    conversations=conversations,
    near_duplicates=fits_in_memory,
    options=FileOptions,
)

"""The chat in a terminal: a prompt with line editing, and commands that start with a slash."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jojo.chat.memory import Chat
from jojo.command import say

COMMANDS = {
    "/help": "show this",
    "/reset": "forget the conversation",
    "/system TEXT": "set the system message and start over; without text, remove it",
    "/retry": "another reply to the last message",
    "/undo": "forget the last message and its reply",
    "/save FILE": "save the conversation",
    "/load FILE": "go on with a saved conversation",
    "/history": "show what was said",
    "/temp NUMBER": "set the temperature",
    "/quit": "leave (also Ctrl+D)",
}


def enable_line_editing() -> None:
    """Arrow keys and history in input(), where Python has readline."""
    with contextlib.suppress(ImportError):  # Windows has none
        import readline  # noqa: F401


def converse(
    chat: Chat,
    first: Sequence[str] = (),
    short: Mapping[str, str] | None = None,
    hints: bool = True,
) -> None:
    """Say what is in `first`, then read messages from stdin until the end of input or /quit.

    `short`: words that alone on a line stand for a command, {"h": "/history"}.
    """
    enable_line_editing()
    short = short or {}
    if hints and sys.stdin.isatty():
        also = "".join(f", {word} for {command}" for word, command in short.items())
        say(f"Type a message, or /help{also}. Ctrl+C stops a reply, Ctrl+D leaves.")
    waiting = list(first)
    while (line := waiting.pop(0) if waiting else read_line()) is not None:
        line = line.strip()
        line = short.get(line, line)
        if not line:
            continue
        try:
            if line.startswith("/"):
                if _command(chat, line, hints) == "quit":
                    return
            else:
                _print_reply(chat, chat.say(line), hints)
        except (ValueError, OSError) as error:
            say(f"error: {error}")


def read_line(prompt: str = "> ") -> str | None:
    """A line from the person, or None at the end of input."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        if line:
            say(f"{prompt}{line.rstrip()}")
        return line or None
    try:
        return input(prompt)
    except EOFError:
        print()
        return None
    except KeyboardInterrupt:
        print()
        return ""


def _print_reply(chat: Chat, pieces: Iterator[str], hints: bool = True) -> None:
    before = chat.forgotten
    try:
        for piece in pieces:
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        pieces.close()
    print(flush=True)
    if hints and chat.forgotten > before:
        say(f"(the context is full: the first {chat.forgotten} messages are forgotten)")


def history(chat: Chat) -> str:
    """What was said, a line each, under the names the model's template has for the speakers."""
    system = [{"role": "system", "content": chat.system}] if chat.system else []
    names = {role: prefix.strip() for role, prefix in chat.template.prefix.items()}
    colon = "" if chat.template.stop_text else ":"  # the line templates have one or need none
    said = [f"{names[m['role']]}{colon} {m['content']}" for m in system + chat.messages]
    return "\n".join(said) if chat.messages else "(nothing was said yet)"


def _command(chat: Chat, line: str, hints: bool) -> str | None:
    name, _, argument = line.partition(" ")
    argument = argument.strip()
    if name in ("/quit", "/exit"):
        return "quit"
    if name == "/help":
        say("\n".join(f"  {usage:<14} {what}" for usage, what in COMMANDS.items()))
    elif name == "/reset":
        chat.reset()
        say("(forgotten)")
    elif name == "/system":
        if argument and "system" not in chat.template.prefix:
            raise ValueError("this model was trained without system messages")
        chat.system = argument or None
        chat.reset()
        say("(system message set)" if argument else "(no system message)")
    elif name == "/history":
        say(history(chat))
    elif name == "/retry":
        _print_reply(chat, chat.retry(), hints)
    elif name == "/undo":
        chat.undo()
        say("(undone)")
    elif name in ("/save", "/load"):
        if not argument:
            raise ValueError(f"{name} needs a file name")
        (chat.save if name == "/save" else chat.load)(Path(argument))
        where = "saved to" if name == "/save" else "from"
        say(f"({len(chat.messages)} messages {where} {argument})")
    elif name == "/temp":
        _set_temperature(chat, argument)
    else:
        raise ValueError(f"unknown command {name}: /help lists them")
    return None


def _set_temperature(chat: Chat, argument: str) -> None:
    from dataclasses import replace

    try:
        value = float(argument)
    except ValueError:
        raise ValueError(f"/temp needs a number, e.g. /temp 0.8, not {argument!r}") from None
    chat.options = replace(chat.options, temp=value)
    say(f"(temperature {value:g})")

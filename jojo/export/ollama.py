"""A Modelfile for Ollama, to stand beside the GGUF it names, and `ollama create` run with it.

    write_text(path, modelfile(Path("chat.gguf"), "chatml", model.config, "You are Tsuki."))
    create("chat", path)

TEMPLATE is a Go text/template over .Messages, the first of which is SYSTEM. What differs there: a
special token spelled out in a message becomes that token; two messages of one role in a row arrive
as one; the line templates cannot make several lines of a message one. Since 0.30 Ollama runs any
GGUF by llama.cpp; its own engine for qwen3 before that split text as Qwen does.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from jojo.chat.config import SamplingOptions
from jojo.command import say
from jojo.text.dialects import GO
from jojo.text.template import Template, template_named
from model import GPTConfig

FIRST_LINE = "# Written by Jojo"
MAX_CONTEXT_TOKENS = 2048
MAX_REPLY_TOKENS = 150

# [host/][namespace/]model[:tag], types/model/name.go of Ollama
_NAME = re.compile(
    r"((\w[\w.:-]{0,349}/)?\w[\w-]{0,79}/)?\w[\w.-]{0,79}(:\w[\w.-]{0,79})?", re.ASCII
)
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # moves of the cursor, colours


def modelfile(gguf: Path, template: str, config: GPTConfig, system: str | None) -> str:
    """Its text; ValueError where Ollama could not be told the system message or the file's name."""
    how = template_named(template)
    if system and "system" not in how.prefix:
        raise ValueError(f"`system`: template {template} has no system messages; leave it out")
    _check_printable(gguf.name, "the file name")
    context_tokens = min(config.block_size, MAX_CONTEXT_TOKENS)
    ours = SamplingOptions()
    parameters = {
        "temperature": ours.temp,
        "top_k": ours.top_k,
        "top_p": ours.top_p,
        "min_p": ours.min_p,
        "repeat_penalty": ours.repetition_penalty,
        "num_predict": max(1, min(MAX_REPLY_TOKENS, context_tokens // 2)),
        "num_ctx": context_tokens,
    }
    lines = [
        f"{FIRST_LINE} for Ollama 0.30 or later: older ones may split text differently.",
        f"FROM ./{gguf.name}",
        f'TEMPLATE """{GO[how.name]}"""',
        *(f"PARAMETER {name} {value}" for name, value in parameters.items()),
        *(f'PARAMETER stop "{stop}"' for stop in _stops(how)),
    ]
    if system:
        _check_system(system)
        lines.append(f'SYSTEM """{system}"""')
    return "\n".join(lines) + "\n"


def _stops(how: Template) -> list[str]:
    turns = ["<|im_end|>", "<|im_start|>"] if how.name == "chatml" else [how.stop_text]
    return [*filter(None, turns), "<|endoftext|>"]


def _check_system(text: str) -> None:
    """ValueError where it would not come out of its quotes as it went in: there are no escapes."""
    _check_printable(re.sub(r"[\t\r\n]", " ", text), "`system`")
    for line in re.split(r"[\r\n]", text)[:-1]:
        if line.rstrip().endswith('"""'):
            raise ValueError(
                f'`system` has """ at the end of {line[-40:]!r}, which Ollama takes for its end: '
                "write other quotes"
            )


def _check_printable(text: str, what: str) -> None:
    dropped = next((c for c in text if not c.isprintable()), None)
    if dropped:
        raise ValueError(
            f"{what} has the character U+{ord(dropped):04X}, which Ollama would drop from a "
            "Modelfile: leave it out"
        )


def is_ours(modelfile: Path) -> bool:
    """Whether it may be replaced."""
    return modelfile.read_bytes().startswith(FIRST_LINE.encode())


def commands(modelfile: Path, name: str) -> list[str]:
    """The two lines for a shell: make the model known to Ollama, chat with it."""
    both = (["create", name, "-f", str(modelfile)], ["run", name])
    return [shlex.join(["ollama", *arguments]) for arguments in both]


def name_of(gguf: Path) -> str:
    """A name for the model where none was given: that of the file, as far as Ollama takes it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", gguf.stem).lstrip(".-")[:80] or "jojo"


def check(name: str, modelfile: Path) -> str:
    """Where the ollama binary is; ValueError if it is missing or takes no such name."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"`create` {name!r} is not a name for Ollama: use letters, digits, - _ and ., as in "
            "tsuki"
        )
    ollama = shutil.which("ollama")
    if ollama is None:
        by_hand = " && ".join(commands(modelfile, name))
        raise ValueError(
            "`create`: Ollama is not installed here; get it from https://ollama.com/download, then "
            f"run: {by_hand}"
        )
    return ollama


def create(name: str, modelfile: Path) -> None:
    """Run `ollama create`, with what it says on stderr; ValueError if it fails."""
    command = [check(name, modelfile), "create", name, "-f", str(modelfile)]
    last = ""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        # newline="": a line that is written over and over ends in \r, and must go out as it came
        for line in io.TextIOWrapper(process.stdout, "utf-8", errors="replace", newline=""):
            print(line, end="", file=sys.stderr, flush=True)
            last = _TERMINAL.sub("", line).strip() or last
    if process.returncode:
        raise ValueError(f"ollama create {name} failed: {last or process.returncode}")


def talk(name: str) -> None:
    """Run `ollama run` where somebody sits at a terminal; elsewhere say the command."""
    command = ["ollama", "run", name]
    if sys.stdin.isatty():
        subprocess.run(command)
    else:
        say(shlex.join(command))

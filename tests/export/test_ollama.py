"""ollama.py: what its Modelfiles say, read back by Ollama's rules, and `ollama create` itself.

The rules are those of Ollama's parser (parser/parser.go). That its template engine renders what
chatml.py renders was checked once with that engine, on 400 conversations a template.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenizer
from jojo.chat.config import SamplingOptions
from jojo.export import ollama
from jojo.text.template import TEMPLATES, Message, encode_prompt
from model import GPTConfig

ODD = ['"', '""', '"""', '"""\n', ' """ ', "\n", "\r\n", "\t", " ", "{{ .X }}", "\\n", "é", "#"]


def parse(text: str) -> dict[str, list[str]]:
    """A Modelfile as Ollama reads it: no escapes, the unprintable dropped, quotes to a line's end.

    The reading goes on over line breaks until what was opened is closed at the end of a line.
    """
    found: dict[str, list[str]] = {}
    rest = text
    while rest := rest.lstrip():
        if rest.startswith("#"):
            rest = rest.partition("\n")[2]
            continue
        name, _, rest = rest.partition(" ")
        if name == "PARAMETER":
            name, _, rest = rest.partition(" ")
        value, kept = None, ""
        for i, character in enumerate(rest):
            if character in "\r\n":
                value = unquoted(kept.strip())
                if value is not None:
                    rest = rest[i:]
                    break
            if character in " \t\r\n" or character.isprintable():
                kept += character
        assert value is not None, f"{name} is not closed"
        found.setdefault(name, []).append(value)
    return found


def unquoted(text: str) -> str | None:
    for quotes in ('"""', '"'):
        if text.startswith(quotes):
            closed = len(text) >= 2 * len(quotes) and text.endswith(quotes)
            return text[len(quotes) : -len(quotes)] if closed else None
    return text


def written(template="chatml", system=None, gguf="chat.gguf", **shape) -> dict[str, list[str]]:
    config = GPTConfig(**({"n_layer": 1, "n_head": 1, "n_embd": 32} | shape))
    return parse(ollama.modelfile(Path("exports") / gguf, template, config, system))


def test_it_names_the_file_beside_it_and_samples_as_gen_does():
    found = written(gguf="my chat.q4_k_m.gguf", system="You are Tsuki.")
    assert found["FROM"] == ["./my chat.q4_k_m.gguf"]
    assert found["SYSTEM"] == ["You are Tsuki."]
    ours = SamplingOptions()
    assert float(*found["temperature"]) == ours.temp
    assert float(*found["top_p"]) == ours.top_p
    assert int(*found["top_k"]) == ours.top_k
    assert float(*found["repeat_penalty"]) == ours.repetition_penalty
    assert "SYSTEM" not in written()


@pytest.mark.parametrize(
    ("block_size", "context", "reply"), [(64, 64, 32), (1024, 1024, 150), (8192, 2048, 150)]
)
def test_the_window_is_never_larger_than_the_model_was_trained_for(block_size, context, reply):
    found = written(block_size=block_size)
    assert found["num_ctx"] == [str(context)]
    assert found["num_predict"] == [str(reply)]


@pytest.mark.parametrize(
    ("template", "stops"),
    [
        ("chatml", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"]),
        ("person", ["\n", "<|endoftext|>"]),
        ("speaker", ["\n", "<|endoftext|>"]),
        ("text", ["<|endoftext|>"]),
    ],
)
def test_replies_stop_where_ours_do(template, stops):
    assert written(template)["stop"] == stops


def go(template: str, messages: list[Message]) -> str:
    """What Go's text/template makes of ours, as far as they use it."""
    body, after = template.removeprefix("{{ range .Messages }}").rsplit("{{ end }}", 1)
    out = ""
    for message in messages:
        role, content = message["role"], message["content"]
        turn = body
        if body.startswith('{{ if ne .Role "system" }}{{ if eq .Role "user" }}'):
            inner = body.split('"user" }}', 1)[1].removesuffix("{{ end }}")
            user, other = inner.split("{{ else }}", 1)
            assistant, other = other.split("{{ end }}", 1)
            space = '{{ if ne (printf "%.1s" .Content) " " }} {{ end }}'
            assert other.startswith(space)
            turn = (user if role == "user" else assistant) + ("" if content[:1] == " " else " ")
            turn += other.removeprefix(space)
        out += turn.replace("{{ .Role }}", role).replace("{{ .Content }}", content)
    return out + after


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_template_is_ours(template):
    messages = [
        {"role": "user", "content": "Hi!"},
        {"role": "assistant", "content": "Hello, you."},
        {"role": "user", "content": ""},
    ]
    if template == "chatml":
        messages.insert(0, {"role": "system", "content": "Two\nlines.\n"})
    ours = tokenizer.decode(encode_prompt(messages, template))
    (theirs,) = written(template)["TEMPLATE"]
    assert go(theirs, messages) == ours
    if template in ("person", "speaker"):  # a reply comes back with the space it began with
        messages[1]["content"] = " Hello, you."
        assert go(theirs, messages) == ours


@given(st.lists(st.sampled_from(ODD) | st.text(max_size=5), min_size=1, max_size=6).map("".join))
def test_a_system_message_arrives_whole_or_is_refused(text):
    try:
        found = written(system=text)
    except ValueError:
        return
    assert found.get("SYSTEM", [""]) == [text]
    assert set(found) == set(written(system="x")) or not text


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ('Say """\nHi', '""" at the end of'),
        ("a family 👩\u200d👧", "U+200D"),
        ("no\x00pe", "U+0000"),
    ],
)
def test_what_ollama_would_change_is_refused(system, said, complaint):
    assert said in complaint(written, system=system)


def test_text_that_looks_dangerous_but_is_not():
    text = 'He said "no".\n\n"""quoted""" twice, "{{ .System }}" \\n\tand\r\nmore """so"""'
    assert written(system=text)["SYSTEM"] == [text]


@pytest.mark.parametrize("template", ["person", "speaker", "text"])
def test_a_template_without_system_messages_says_so(template, complaint):
    assert f"template {template} has no system messages" in complaint(
        written, template, system="You are Tsuki."
    )


def test_a_file_name_that_would_not_survive(complaint):
    assert "U+000A" in complaint(written, gguf="a\nb.gguf")


def test_the_two_commands_can_be_pasted():
    first, second = ollama.commands(Path("my exports/Modelfile"), "tsuki")
    assert shlex.split(first) == ["ollama", "create", "tsuki", "-f", "my exports/Modelfile"]
    assert second == "ollama run tsuki"


@pytest.fixture
def binary(tmp_path, monkeypatch):
    """An ollama that notes its arguments and the folder it runs in, and ends as it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ollama"
    noted = tmp_path / "noted"

    def write(*says: str, code: int = 0) -> Path:
        lines = [f"#!{sys.executable}", "import os, sys"]
        lines += [f"open({str(noted)!r}, 'w').write(repr((sys.argv[1:], os.getcwd())))"]
        lines += [f"sys.stderr.write({line!r})" for line in says]
        program.write_text("\n".join([*lines, f"sys.exit({code})\n"]))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return noted

    monkeypatch.setenv("PATH", str(folder))
    return write


def test_create_runs_ollama_and_shows_what_it_says(binary, capsys, tmp_path):
    noted = binary("gathering\r", "\x1b[1Gsuccess\n")
    path = tmp_path / "my exports" / "Modelfile"
    ollama.create("me/tsuki:small", path)
    arguments = ["create", "me/tsuki:small", "-f", str(path)]
    assert noted.read_text() == repr((arguments, os.getcwd()))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "gathering\r\x1b[1Gsuccess\n"


def test_a_create_that_fails_is_one_line(binary, capsys, complaint):
    binary("gathering\n", "\x1b[?25lError: could not connect to ollama server\n\x1b[?25h\n", code=1)
    said = complaint(ollama.create, "tsuki", Path("Modelfile"))
    assert said == "ollama create tsuki failed: Error: could not connect to ollama server"
    binary(code=3)
    assert complaint(ollama.create, "tsuki", Path("Modelfile")).endswith("failed: 3")


def test_without_ollama_it_says_how_to_go_on(monkeypatch, tmp_path, complaint):
    monkeypatch.setenv("PATH", str(tmp_path))
    said = complaint(ollama.create, "tsuki", Path("exports/Modelfile"))
    assert "https://ollama.com/download" in said
    assert "ollama create tsuki -f exports/Modelfile && ollama run tsuki" in said


@pytest.mark.parametrize("name", ["tsuki", "a:b", "me/tsuki", "h.x:80/me/tsuki:1.b-c", "_x", "x."])
def test_names_that_ollama_takes(name, binary):
    binary()
    ollama.create(name, Path("Modelfile"))


@pytest.mark.parametrize(
    "name", ["", "-x", "--help", "a b", "a:", "/a", "a/", "n.s/a", "a/b/c/d", "a" * 81, "é", "a\n"]
)
def test_names_that_ollama_refuses(name, binary, complaint):
    noted = binary()
    assert "is not a name for Ollama" in complaint(ollama.create, name, Path("Modelfile"))
    assert not noted.exists()


@pytest.mark.parametrize(
    ("file", "name"),
    [("chat5000.q8_0.gguf", "chat5000.q8_0"), ("my chat.gguf", "my-chat"), ("日本.gguf", "jojo")],
)
def test_a_file_gives_its_model_a_name(file, name, binary):
    assert ollama.name_of(Path(file)) == name
    binary()
    ollama.create(name, Path("Modelfile"))

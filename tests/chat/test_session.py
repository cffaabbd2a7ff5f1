"""gen.py: what it makes of --prompt, --system and --examples, and what it opens."""

from __future__ import annotations

import io
import json

import pytest
from tsuki import AS_THE_GUIDE_HAS_IT, EXAMPLES, TSUKI

import tokenizer
from jojo.chat.config import GenConfig
from jojo.chat.examples import (
    turns_of,
    with_examples,
)
from jojo.chat.memory import Chat
from jojo.chat.session import Session
from jojo.export.hf_folder import save_folder
from jojo.models import checkpoint
from jojo.text.template import Message, decode, encode_prompt


@pytest.fixture
def session(tiny_model, tmp_path, file):
    """A gen.py session of a tiny model, and what it would give the model to read."""

    def build(template: str = "chatml", block_size: int = 256, **settings) -> Session:
        content = checkpoint.model_content(tiny_model(block_size=block_size), template=template)
        checkpoint.save(tmp_path / "tiny.pt", content)
        settings = {"examples": file(EXAMPLES, "own.json"), "temp": 0.0, "max_tokens": 8} | settings
        return Session(GenConfig(checkpoint=str(tmp_path / "tiny.pt"), **settings))

    return build


@pytest.fixture
def typed(monkeypatch):
    def run(session: Session, *lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        session.interact()

    return run


def turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def test_examples_go_into_the_system_message(session, capsys):
    told = session(system=TSUKI, prompt="Hello!")
    assert told.messages() == [turn("system", AS_THE_GUIDE_HAS_IT), turn("user", "Hello!")]
    assert "3 of 3 examples fit into 50% of the context of 256 tokens" in capsys.readouterr().err
    out = io.StringIO()
    told.complete(out)
    assert out.getvalue().strip()


def test_system_alone_stays_as_it_is(session):
    alone = session(system=" " + TSUKI, prompt="Hello!", examples=None)
    assert alone.messages() == [turn("system", " " + TSUKI), turn("user", "Hello!")]


def test_only_whole_examples_that_fit_are_taken_and_their_number_is_said(session, file, capsys):
    many = [{"user": f"Question {i}", "bot": f"This is answer {i}."} for i in range(60)]
    told = session(system=TSUKI, prompt="Hello!", examples=file(many))
    system = told.messages()[0]["content"]
    n = system.count("You:")
    assert f"{n} of 60 examples fit" in capsys.readouterr().err
    assert system == with_examples(TSUKI, many[:n], 1000)
    assert (
        len(tokenizer.encode(system))
        <= 128
        < len(tokenizer.encode(with_examples(TSUKI, many[: n + 1], 1000)))
    )


def test_where_there_is_no_system_message_they_are_turns(session, file, capsys):
    told = session("person", prompt="Person A: Hello!")
    assert told.messages() == [*turns_of(EXAMPLES), turn("user", "Hello!")]
    many = [{"user": f"Question {i}", "bot": f"This is answer {i}."} for i in range(60)]
    told = session("person", prompt="Hello!", examples=file(many))
    n = len(told.messages()) // 2
    assert told.messages() == [*turns_of(many[:n]), turn("user", "Hello!")]
    assert f"{n} of 60 examples fit" in capsys.readouterr().err
    assert 5 < n < 60


def test_a_long_prompt_gets_the_room_of_the_examples(session):
    told = session(system=TSUKI, prompt="word " * 150, max_tokens=16)
    system, asked = told.messages()
    assert asked["content"] == ("word " * 150).strip()
    assert 0 < system["content"].count("You:") < 3
    ids = encode_prompt([system, asked])
    assert len(ids) <= 256 - 16


def test_the_system_message_of_a_prompt_file_keeps_the_examples(session, tmp_path):
    prompt = tmp_path / "prompt.txt"
    prompt.write_text(
        "<|im_start|>system\nBe rude.\n<|im_end|>\n<|im_start|>user\nHello!\n<|im_end|>\n"
    )
    told = session(system=TSUKI, prompt_file=prompt)
    system, asked = told.messages()
    assert system["content"] == with_examples("Be rude.", EXAMPLES, 1000)
    assert asked == turn("user", "Hello!")
    prompt.write_text("<|im_start|>system\nBe rude.\n<|im_end|>\n")
    assert len(session(prompt_file=prompt).messages()) == 1


def test_the_chat_keeps_them_through_reset_and_system(session, typed, tmp_path, monkeypatch):
    read = []
    real = Chat._prompt

    def prompt(chat):
        read.append(real(chat))
        return read[-1]

    monkeypatch.setattr(Chat, "_prompt", prompt)
    saved = tmp_path / "chat.json"
    chat = session(system=TSUKI, output=saved)
    typed(chat, "Hello!", "/reset", "Hello!", "/system Be rude.", "Hello!", "/system", "Hello!")
    systems = [decode(ids)[0]["content"] for ids in read]
    texts = [TSUKI, TSUKI, "Be rude.", None]
    assert systems == [with_examples(text, EXAMPLES, 1000) for text in texts]
    assert json.loads(saved.read_text())["examples"] == turns_of(EXAMPLES)


def test_examples_that_cannot_be_are_one_line(session, file, complaint):
    assert "`examples`" in complaint(session, "text")
    long = file([{"user": "Hi", "bot": "word " * 300}])
    assert "none of 1 fits into 50% of the context of 256" in complaint(session, examples=long)
    assert "no user turn with a reply" in complaint(session, examples=file("Once upon a time."))


def test_a_folder_of_hugging_face_is_opened(tiny_model, tmp_path):
    save_folder(tiny_model(vocab_size=50304), tmp_path / "folder", "person")
    found = Session(GenConfig(checkpoint=str(tmp_path / "folder"), prompt="Hello!", max_tokens=4))
    out = io.StringIO()
    found.complete(out)
    assert out.getvalue().strip()
    assert "template person" in found.describe()


def test_only_an_adapter_has_a_base(session, complaint):
    assert "leave out `base`" in complaint(session, base="gpt2")

"""The chat in a terminal: what is typed, and its commands."""

from __future__ import annotations

import pytest

from jojo.chat.memory import Chat


def say(chat: Chat, text: str) -> str:
    return "".join(chat.say(text))


def test_lines_are_answered_on_stdout_until_the_input_ends(chat_with, typed):
    out, err = typed(chat_with(), "Hello!", "", "How are you?")
    other = chat_with()
    assert out == f"{say(other, 'Hello!')}\n{say(other, 'How are you?')}\n"
    assert "Hello!" in err  # what was typed, when it was not typed by a person


def test_quit_leaves(chat_with, typed):
    chat = chat_with()
    out, _ = typed(chat, "/quit", "Hello!")
    assert out == ""
    assert chat.messages == []


def test_help_names_every_command(chat_with, typed):
    out, err = typed(chat_with(), "/help")
    assert out == ""
    names = ("help", "reset", "system", "retry", "undo", "save", "load", "temp", "quit")
    assert all(f"/{name}" in err for name in names)


def test_an_unknown_command_is_not_sent_to_the_model(chat_with, typed):
    chat = chat_with()
    out, err = typed(chat, "/hlep")
    assert out == ""
    assert "/hlep" in err
    assert "/help" in err
    assert chat.messages == []


@pytest.mark.parametrize("wrong", ["x", "", "-1", "nan", "1000"])
def test_a_wrong_temperature_is_refused(wrong, chat_with, typed):
    chat = chat_with()
    out, err = typed(chat, f"/temp {wrong}", "Hello!")
    assert err.count("error:") == 1
    assert chat.options.temp == 0.0
    assert out.strip()


def test_the_temperature_can_be_set(chat_with, typed):
    chat = chat_with()
    typed(chat, "/temp 0.7")
    assert chat.options.temp == 0.7
    assert chat.options.max_tokens == 8


def test_undo_retry_and_reset_from_the_keyboard(chat_with, typed):
    chat = chat_with()
    out, err = typed(chat, "/undo", "/retry", "Hello!", "/retry", "/undo", "/reset")
    assert err.count("error:") == 2  # the first two
    assert out == f"{say(chat_with(), 'Hello!')}\n" * 2
    assert chat.messages == []


def test_the_system_message_from_the_keyboard(chat_with, typed):
    chat = chat_with()
    typed(chat, "Hello!", "/system Be a pirate.")
    assert (chat.system, chat.messages) == ("Be a pirate.", [])
    typed(chat, "/system")
    assert chat.system is None


def test_a_template_without_system_messages_refuses_one(chat_with, typed):
    chat = chat_with("person")
    _, err = typed(chat, "/system Be kind.")
    assert "error:" in err
    assert chat.system is None


def test_save_and_load_from_the_keyboard(chat_with, typed, tmp_path):
    chat, file = chat_with(), tmp_path / "my chat.json"
    typed(chat, "Hello!", f"/save {file}")
    other = chat_with()
    typed(other, f"/load {file}")
    assert other.messages == chat.messages


def test_files_that_cannot_be_are_one_line_and_the_chat_goes_on(chat_with, typed, tmp_path):
    chat = chat_with()
    missing = tmp_path / "missing.json"
    out, err = typed(chat, "/save", "/load", f"/load {missing}", f"/load {tmp_path}", "Hello!")
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 4
    assert "missing.json" in errors[2]
    assert out.strip()


def test_a_message_longer_than_the_context_is_one_line_and_the_chat_goes_on(chat_with, typed):
    chat = chat_with()
    out, err = typed(chat, "word " * 300, "Hello!")
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "128" in errors[0]
    assert len(out.splitlines()) >= 1
    assert len(chat.messages) == 2


def test_the_person_is_told_when_the_context_is_full(chat_with, typed):
    message = "Some words to fill the context, more of them than one would think."
    _, err = typed(chat_with(), *[message] * 8)
    assert "context is full" in err

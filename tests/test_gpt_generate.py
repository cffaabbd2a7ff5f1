"""The chatbot for notebooks, and what jojo/chat/opened.py opens and saves for it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import warnings
from itertools import islice
from pathlib import Path

import pytest
import torch

import gpt_generate
from gpt_generate import GPT2Chatbot
from jojo.chat.examples import turns_of
from jojo.chat.memory import Chat
from jojo.export.hf_folder import save_folder
from jojo.files import ROOT
from jojo.models import checkpoint, lora, pretrained
from jojo.text.template import Message, decode, encode_prompt

EXAMPLES = [
    {"user": "Who created you?", "bot": "You did, to help with your tasks."},
    {"user": "What's our project about?", "bot": "Language models of our own."},
]
GREEDY = {"temp": 0.0, "max_tokens": 8}


@pytest.fixture
def save(tiny_model, tmp_path):
    """Saves a tiny model as a checkpoint and returns its path."""

    def write(
        name: str = "chat.pt", template: str = "chatml", block_size: int = 256, **settings
    ) -> Path:
        model = tiny_model(block_size=block_size, **settings)
        facts = {"step": 7, "dataset": "tiny", "run": "tiny", "metrics": {"val_loss": 1.5}}
        content = checkpoint.model_content(model, template=template, **facts)
        checkpoint.save(tmp_path / name, content)
        return tmp_path / name

    return write


@pytest.fixture
def bot(save):
    """A greedy chatbot of a tiny model."""

    def build(template: str = "chatml", **settings) -> GPT2Chatbot:
        return GPT2Chatbot(save(template=template), **(GREEDY | settings))

    return build


@pytest.fixture
def no_hub(monkeypatch):
    """Fails where anything would be downloaded."""

    def download(*_, **__):
        raise AssertionError("something is being downloaded")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("requests.sessions.Session.request", download)


@pytest.fixture
def prompts(monkeypatch):
    """What models are given to read, as it happens."""
    seen = []
    real = Chat._prompt

    def prompt(chat):
        seen.append(real(chat))
        return seen[-1]

    monkeypatch.setattr(Chat, "_prompt", prompt)
    return seen


def digest(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def user(text: str) -> Message:
    return {"role": "user", "content": text}


# talking


def test_chat_and_stream_are_the_same_and_remember(bot):
    one, two = bot(temp=1.0, seed=3), bot(temp=1.0, seed=3)
    for text in ("Hello!", "And?"):
        assert one.chat(text) == "".join(two.stream(text))
    assert one.messages == two.messages
    assert [m["role"] for m in one.messages] == ["user", "assistant"] * 2
    assert bot(temp=1.0, seed=4).chat("Hello!") != two.messages[1]["content"]


def test_a_stream_comes_piece_by_piece_and_another_may_begin(bot):
    chatbot = bot(max_tokens=20)
    first = chatbot.stream("Hello!")
    shown = "".join(islice(first, 3))
    reply = chatbot.chat("And?")  # the first stream ends here
    assert list(first) == []
    said = [m["content"] for m in chatbot.messages]
    assert said == ["Hello!", shown.strip(), "And?", reply.strip()]
    other = bot(max_tokens=20)
    other.chat("Hello!")
    other._chat.messages[1]["content"] = shown.strip()
    assert other.chat("And?") == reply


def test_a_stream_nobody_listens_to_says_nothing(bot):
    chatbot = bot()
    chatbot.stream("Hello!")
    assert chatbot.messages == []
    assert chatbot.chat("Hello!") == bot().chat("Hello!")


def test_a_model_that_never_saw_a_turn_writes_a_dialogue(bot, prompts):
    chatbot = bot("text")
    chatbot.add_custom_examples(EXAMPLES[:1])
    reply = chatbot.chat("Hello!")
    assert "\n" not in reply
    ids = prompts[0]
    assert ids == encode_prompt([*turns_of(EXAMPLES[:1]), user("Hello!")], "person")
    assert decode(ids, "text")[0]["content"] == (
        "Person A: Who created you?\nPerson B: You did, to help with your tasks.\n"
        "Person A: Hello!\nPerson B:"
    )


@pytest.mark.parametrize("text", ["", " \n", None, 3, ["Hello"]])
def test_a_message_must_be_text(text, bot, complaint):
    chatbot = bot()
    assert "message" in complaint(chatbot.chat, text)
    assert "message" in complaint(chatbot.stream, text)
    assert chatbot.messages == []


def test_settings_may_be_changed_in_between(bot):
    chatbot = bot()
    chatbot.options.max_tokens = 2
    short = chatbot.chat("Hello!")
    chatbot.reset()
    chatbot.options.max_tokens = 8
    assert len(chatbot.chat("Hello!")) > len(short)


def test_a_system_message(bot, prompts, complaint):
    chatbot = bot(system="Be a pirate.")
    chatbot.chat("Hello!")
    system = {"role": "system", "content": "Be a pirate."}
    assert prompts[0] == encode_prompt([system, user("Hello!")])
    chatbot.system = None
    chatbot.chat("And?")
    assert prompts[1] == encode_prompt(chatbot.messages[:-1])
    person = bot("person", system="Be a pirate.")
    assert "without system messages" in complaint(person.chat, "Hello!")
    person.system = None
    assert person.chat("Hello!")


# examples


def test_examples_change_the_next_prompt_and_nothing_on_disk(bot, prompts, tmp_path):
    chatbot = bot()
    plain = chatbot.chat("Hello!")
    said = chatbot.messages
    before = digest(tmp_path)
    chatbot.add_custom_examples(EXAMPLES)
    reply = chatbot.chat("And?")
    assert digest(tmp_path) == before
    assert prompts[1] == encode_prompt([*turns_of(EXAMPLES), *said, user("And?")])
    unaware = bot()
    unaware.chat("Hello!")
    assert unaware.chat("And?") != reply
    chatbot.reset()
    assert (chatbot.messages, chatbot.chat("Hello!") == plain) == ([], False)
    chatbot.reset(examples=True)
    assert chatbot.chat("Hello!") == plain


def test_examples_may_come_before_the_model(bot, prompts):
    chatbot = bot()
    chatbot.add_custom_examples(EXAMPLES[:1])
    chatbot.add_custom_examples(EXAMPLES[1:])
    chatbot.chat("Hello!")
    assert prompts[0] == encode_prompt([*turns_of(EXAMPLES), user("Hello!")])


def test_a_wrong_example_is_named_and_none_is_added(bot, complaint, prompts):
    chatbot = bot()
    wrong = [EXAMPLES[0], {"user": "Hi", "reply": "Hey"}]
    assert "example 2 has no 'bot'" in complaint(chatbot.add_custom_examples, wrong)
    assert "dict" in complaint(chatbot.add_custom_examples, EXAMPLES[0])
    chatbot.chat("Hello!")
    assert prompts[0] == encode_prompt([user("Hello!")])


def test_examples_are_copies(bot, prompts):
    chatbot, mine = bot(), [dict(EXAMPLES[0])]
    chatbot.add_custom_examples(mine)
    mine[0]["bot"] = "Nobody did."
    chatbot.chat("Hello!")
    assert prompts[0] == encode_prompt([*turns_of(EXAMPLES[:1]), user("Hello!")])


def test_too_many_examples_leave_room_for_the_chat_and_the_newest_count(bot, prompts, tmp_path):
    chatbot = bot()
    many = [{"user": f"Question {i}", "bot": f"Answer {i}"} for i in range(60)]
    chatbot.add_custom_examples(many)
    with pytest.warns(UserWarning, match=r"^\d+ of 60 examples fit into 50% of the context of 256"):
        chatbot.chat("Hello!")
    with warnings.catch_warnings():  # which has nothing to do with it
        warnings.simplefilter("error")
        chatbot.save(tmp_path / "copy.pt")
    read = decode(prompts[0])
    assert read[-3] == {"role": "assistant", "content": "Answer 59"}
    assert len(prompts[0]) <= 128 + 20
    chatbot.reset(examples=True)
    chatbot.add_custom_examples(many[:3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chatbot.chat("Hello!")


# opening


def test_nothing_is_opened_before_it_is_needed(save, no_hub):
    chatbot = GPT2Chatbot(model_name="gpt2-small (124M)", **GREEDY)
    chatbot.add_custom_examples(EXAMPLES)
    chatbot.reset()
    assert chatbot.messages == []
    chatbot.load_model(save())
    assert chatbot.chat("Tell me what you learned")


def test_the_import_is_light():
    code = (
        "import sys, gpt_generate as g\n"
        "g.GPT2Chatbot(model_name='gpt2-small (124M)')\n"
        "heavy = {'torch', 'numpy', 'tiktoken', 'huggingface_hub', 'argparse'} & set(sys.modules)\n"
        "print(heavy - {'argparse'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_the_example_of_the_docstring_runs(save, tmp_path, monkeypatch, no_hub, capsys):
    (tmp_path / "path/to/your").mkdir(parents=True)
    save("path/to/your/trained_model.pt", block_size=96)
    monkeypatch.chdir(tmp_path)
    code = gpt_generate.__doc__.split("\n\n")
    code = "\n\n".join(part for part in code if part.startswith("    "))
    assert "chatbot.chat(" in code
    exec(textwrap.dedent(code), {})
    assert capsys.readouterr().out.strip()
    assert (tmp_path / "my-chatbot" / "config.json").exists()


def test_run_as_a_command_it_says_how_it_is_used():
    done = subprocess.run(
        [sys.executable, str(ROOT / "gpt_generate.py")], capture_output=True, text=True
    )
    assert done.stdout.startswith("usage")
    assert "GPT2Chatbot(model_name=" in done.stdout


@pytest.mark.parametrize("name", ["gpt3", "gpt2-small (125M)", "models/none.pt", "", "no such"])
def test_a_name_that_is_none_is_refused_at_once(name, complaint):
    message = complaint(GPT2Chatbot, name)
    assert any(s in message for s in ("gpt2-small (124M)", "did you mean gpt2?", "does not exist"))


def test_settings_that_cannot_be_are_refused_at_once(complaint):
    assert "dtype 'bf16' is none of auto, float32" in complaint(GPT2Chatbot, dtype="bf16")
    assert "`temp` -1" in complaint(GPT2Chatbot, temp=-1)
    assert "`seed` -1" in complaint(GPT2Chatbot, seed=-1)
    with pytest.raises(TypeError, match="tempp"):
        GPT2Chatbot(tempp=1)


def test_a_relative_path_stays_right_elsewhere(save, tmp_path, monkeypatch):
    save()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    chatbot = GPT2Chatbot("chat.pt", **GREEDY)
    monkeypatch.chdir("elsewhere")
    assert chatbot.chat("Hello!")
    chatbot.save("copy.pt")
    assert (tmp_path / "elsewhere" / "copy.pt").exists()


def test_a_model_that_cannot_be_opened_leaves_everything_as_it_was(bot, tmp_path, complaint):
    chatbot, same = bot(), bot()
    chatbot.add_custom_examples(EXAMPLES)
    same.add_custom_examples(EXAMPLES)
    chatbot.chat("Hello!")
    same.chat("Hello!")
    half = tmp_path / "half.pt"
    half.write_bytes((tmp_path / "chat.pt").read_bytes()[:5000])
    (tmp_path / "empty").mkdir()
    for wrong in (half, tmp_path / "none.pt", tmp_path / "empty", "gpt5", 3.5):
        with pytest.raises((ValueError, TypeError)):
            chatbot.load_model(wrong)
    assert chatbot.messages == same.messages
    assert chatbot.chat("And?") == same.chat("And?")


def test_another_model_begins_another_conversation_with_the_same_examples(bot, save, prompts):
    chatbot = bot()
    chatbot.add_custom_examples(EXAMPLES)
    chatbot.chat("Hello!")
    chatbot.load_model(save("person.pt", "person"))
    assert chatbot.messages == []
    chatbot.chat("Hello!")
    assert prompts[1] == encode_prompt([*turns_of(EXAMPLES), user("Hello!")], "person")


# saving


def test_saved_as_a_checkpoint_and_as_a_folder_it_says_the_same(save, tmp_path):
    for template in ("chatml", "person", "text"):
        chatbot = GPT2Chatbot(save(template=template), **GREEDY)
        replies = [chatbot.chat("Hello!"), chatbot.chat("And?")]
        for name in (f"{template}-again.pt", f"{template}-folder"):
            chatbot.save(tmp_path / name)
            other = GPT2Chatbot(tmp_path / name, **GREEDY)
            assert [other.chat("Hello!"), other.chat("And?")] == replies
            assert pretrained.load_model(str(tmp_path / name))[1]["template"] == template


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_is_saved_is_in_full_precision(dtype, save, tmp_path):
    path = save()
    chatbot = GPT2Chatbot(path, dtype=dtype, **GREEDY)
    chatbot.chat("Hello!")
    chatbot.save(tmp_path / "copy.pt")
    one, two = checkpoint.load(path), checkpoint.load(tmp_path / "copy.pt")
    assert one.keys() == two.keys()
    assert all(torch.equal(one["model"][n], t) for n, t in two["model"].items())
    assert {n: v for n, v in one.items() if n != "model"} == {
        n: v for n, v in two.items() if n != "model"
    }


def test_saving_needs_no_chat_before_and_may_be_done_again(bot, tmp_path):
    chatbot = bot(dtype="float16")
    for _ in range(2):
        chatbot.save(tmp_path / "chat.pt")  # over the file it came from
        chatbot.save(tmp_path / "folder")
    assert GPT2Chatbot(tmp_path / "folder", **GREEDY).chat("Hello!") == bot().chat("Hello!")


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_rounded_weights_are_not_saved_for_whole_ones(what, bot, tmp_path, complaint):
    chatbot, whole = bot(dtype="float16"), bot(dtype="float32")
    chatbot.chat("Hello!")
    whole.chat("Hello!")
    file = tmp_path / "chat.pt"
    file.unlink() if what == "gone" else os.utime(file, (1, 1))
    assert "gone or changed" in complaint(chatbot.save, tmp_path / "copy.pt")
    assert not (tmp_path / "copy.pt").exists()
    assert chatbot.chat("And?")
    whole.save(tmp_path / "copy.pt")
    assert (tmp_path / "copy.pt").exists()


def test_places_that_cannot_be_saved_to(bot, tmp_path, complaint):
    chatbot = bot()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    before = digest(tmp_path)
    for name in ("file", "model.bin", "model.safetensors", "folder.pt", "notes", "file/x"):
        assert str(tmp_path / name) in complaint(chatbot.save, tmp_path / name)
    assert "not a path" in complaint(chatbot.save, None)
    assert digest(tmp_path) == before


def test_models_of_other_programs_are_never_replaced(bot, tmp_path, complaint):
    chatbot = bot()
    chatbot.save(tmp_path / "folder")
    chatbot.save(tmp_path / "folder")
    path = tmp_path / "folder" / "config.json"
    for content in ({**json.loads(path.read_text()), "jojo": None}, [], 3):
        if content and isinstance(content, dict):
            del content["jojo"]  # as another program writes it
        path.write_text(json.dumps(content))
        before = digest(tmp_path)
        assert "choose another place" in complaint(chatbot.save, tmp_path / "folder")
        assert digest(tmp_path) == before


def test_wrong_types_are_one_line(bot, complaint):
    for wrong in (None, 123, ["gpt2"]):
        assert "named by a text or a path" in complaint(GPT2Chatbot, wrong)
        if wrong:
            assert "named by" in complaint(bot().load_model, wrong)
    assert "of type int" in complaint(bot(system=3).chat, "Hello!")


def test_adapters_are_merged_in(save, tiny_model, tmp_path, complaint):
    base = save("base.pt", vocab_size=50304)
    found = pretrained.open_base(str(base))
    how = lora.LoRA(rank=2, alpha=64.0, dropout=0.0, targets=("q", "v"))
    lora.adapt(found.model, how)
    with torch.no_grad():
        for name, p in found.model.named_parameters():
            if name.endswith("lora_B"):
                p.normal_(generator=torch.Generator().manual_seed(1))
    named = {"source": found.source, "hash": found.hash}
    content = checkpoint.model_content(found.model, template="chatml", base=named, step=3)
    checkpoint.save(tmp_path / "adapter.pt", content)
    chatbot = GPT2Chatbot(tmp_path / "adapter.pt", **GREEDY)
    reply = chatbot.chat("Hello!")
    assert reply != GPT2Chatbot(base, **GREEDY).chat("Hello!")
    for name in ("merged.pt", "merged"):
        chatbot.save(tmp_path / name)
        assert GPT2Chatbot(tmp_path / name, **GREEDY).chat("Hello!") == reply
    assert "base" not in checkpoint.load(tmp_path / "merged.pt")
    assert "is the base of the adapter" in complaint(chatbot.save, base)
    base.rename(tmp_path / "moved.pt")
    complaint(GPT2Chatbot(tmp_path / "adapter.pt", **GREEDY).chat, "Hello!")
    for moved in (
        GPT2Chatbot(tmp_path / "adapter.pt", base=tmp_path / "moved.pt", **GREEDY),
        GPT2Chatbot(**GREEDY),
    ):
        if moved._base is None:
            moved.load_model(tmp_path / "adapter.pt", base=tmp_path / "moved.pt")
        assert moved.chat("Hello!") == reply


def test_a_folder_of_hugging_face_is_chatted_with(tiny_model, tmp_path):
    model = tiny_model(arch="gpt2", block_size=64, n_inner=0, vocab_size=50304)
    save_folder(model, tmp_path / "gpt2", "text")
    settings = json.loads((tmp_path / "gpt2" / "config.json").read_text())
    settings.pop("jojo")  # as another program writes it
    (tmp_path / "gpt2" / "config.json").write_text(json.dumps(settings))
    chatbot = GPT2Chatbot(tmp_path / "gpt2", **GREEDY)
    assert chatbot.chat("Hello!") == "".join(
        GPT2Chatbot(tmp_path / "gpt2", **GREEDY).stream("Hello!")
    )

"""The preview: which tokens are trained, how they are shown, and that a missing stop is found."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from verbs import call

import tokenizer
from jojo.data.bins import DatasetWriter, open_dataset
from jojo.data.inspect import preview
from jojo.data.inspect.tokenview import as_html, as_text
from jojo.files import ROOT
from jojo.text.template import encode, encode_batch, loss_mask
from tokenizer import ENDOFTEXT, IM_END

CHAT = [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello you."}]
SAME = {"chatml": CHAT, "person": CHAT, "speaker": CHAT, "text": CHAT[1:]}


@pytest.fixture
def written(tmp_path):
    """Writes arrays of ids as the train split (and the first as val); returns the dataset."""

    def write(conversations, template="chatml", name="set"):
        with DatasetWriter(tmp_path, name, template=template) as writer:
            writer.add("val", np.array(conversations[0], np.uint16))
            for ids in conversations:
                writer.add("train", np.array(ids, np.uint16))
            writer.commit(records_in=len(conversations) + 1)
        return open_dataset(name, tmp_path)

    return write


def shown(messages, template="chatml", loss_on="assistant", colour=False, ids=False):
    numbers = encode_batch([messages], template)[0]
    mask = preview.mask_of(numbers, template, loss_on)
    return as_text(preview.passage("it", numbers, mask), colour, ids)


def command(*arguments, **environment):
    return call("data/preview.py", *arguments, **environment)


# ---------------------------------------------------------------- what is shown


def test_without_colours_marks_show_what_is_trained():
    assert shown(CHAT) == (
        "--- it: 19 tokens, 5 trained (26.3%)\n"
        "<|im_start|>│user│↵\n"
        "Hi│!│↵\n"
        "<|im_end|>│↵\n"
        "<|im_start|>│ass│istant│↵\n"
        "«Hello│ you│.│↵\n"
        "<|im_end|>»↵\n"
        "<|endoftext|>\n"
    )


def test_the_line_templates_and_loss_on_all():
    assert "Person│ B│:« Hello│ you│.│↵»\n<|endoftext|>" in shown(CHAT, "person")
    everything = shown(CHAT, loss_on="all")
    assert "19 tokens, 19 trained (100.0%)" in everything
    assert (everything.count("«"), everything.count("»")) == (1, 1)
    assert "«Hello│ you│.│<|endoftext|>»" in shown(CHAT[1:], "text")


def test_ids_stand_beside_their_tokens():
    assert "Hi[17250]│![0]│↵[198]\n<|im_end|>[50257]" in shown(CHAT, ids=True)


def test_colours_tell_trained_from_masked_and_one_token_from_the_next():
    text = shown(CHAT, colour=True)
    of = {token: style for style, token in re.findall(r"\x1b\[([\d;]+)m([^\x1b]*)\x1b", text)}
    assert of["Hello"] != of[" you"] != of["."]  # neighbours differ
    assert of["Hello"] == of["."]  # and every other one is alike
    assert {of["Hi"], of["!"]}.isdisjoint({of["Hello"], of[" you"]})
    assert re.sub(r"\x1b\[[\d;]*m", "", text) == re.sub("[│«»]", "", shown(CHAT))


@pytest.mark.parametrize(
    ("data", "pieces"),
    [
        ([b"Hi ", b"\xf0\x9f", b"\x98\x80 x"], ["Hi ", "⟨f0 9f⟩", "⟨98 80=😀⟩ x"]),
        ([b" \xf0", b"\x9f", b"\x98", b"\x80"], [" ⟨f0⟩", "⟨9f⟩", "⟨98⟩", "⟨80=😀⟩"]),
        ([b"\xff", b"a"], ["⟨ff⟩", "a"]),
        ([b"\xe2\x80", b"a"], ["⟨e2 80⟩", "⟨61⟩"]),  # never closed
        ([b"\xe2\x80", b"\x8f"], ["⟨e2 80⟩", "⟨8f=U+200F⟩"]),
        ([b"\x1b[31m", "\u202e\xa0".encode()], ["⟨U+001B⟩[31m", "⟨U+202E⟩⟨U+00A0⟩"]),
        ([b"a\tb\n\n"], ["a→b↵↵"]),
    ],
)
def test_pieces_of_characters_and_white_space_are_visible(data, pieces):
    assert preview.visible(data) == pieces


def test_no_text_of_the_data_can_steer_the_terminal_or_pass_for_a_special_token():
    evil = [CHAT[0] | {"content": "\x1b[2J\r\x07 <|im_end|>"}, CHAT[1]]
    text = shown(evil)
    assert not set(text) & set("\x1b\r\x07")
    assert "<│|│im│_│end│|│>" in text
    assert text.count("<|im_end|>") == 2


def test_conversations_are_picked_by_number_or_drawn(written):
    says = [[CHAT[0], {"role": "assistant", "content": f"Number {i}."}] for i in range(9)]
    dataset = written([encode(m) for m in says])

    def pick(n, start=0, seed=None):
        found = preview.conversation_passages(dataset, "train", n, start, seed, "assistant")
        return [p.title for p in found]

    assert pick(2, 3) == ["train 3 of 9", "train 4 of 9"]
    assert pick(5, 8) == ["train 8 of 9"]
    drawn = pick(4, seed=1)
    assert drawn == pick(4, seed=1) != pick(4, seed=2)
    assert len(set(drawn)) == 4
    with pytest.raises(ValueError, match="`start` 9: there are 9 conversations in train"):
        pick(1, 9)


def test_windows_are_those_of_a_training(written):
    from jojo.data.batches import Batches

    dataset = written([encode(CHAT)] * 30)
    (found,) = preview.window_passages(dataset, "train", 1, 2, 1337, "all", 48)
    ids = Batches(dataset.ids["train"], "chatml", 48, 1, 1337).ids_of(2)[0]
    assert [token.id for token in found.tokens] == ids.tolist()
    assert (found.tokens[0].trained, found.trained) == (False, 48)  # 48 targets


# ---------------------------------------------------------------- every reply learns to stop


@pytest.mark.parametrize("template", SAME)
@pytest.mark.parametrize("block", [1, 1 << 20])
def test_a_good_dataset_passes_and_is_counted(written, monkeypatch, template, block):
    monkeypatch.setattr(preview, "BLOCK_TOKENS", block)
    ids = encode(SAME[template], template)
    dataset = written([ids] * 7, template)
    audit = preview.audit(dataset, "assistant")
    assert audit.problem is None
    assert audit.replies == {"train": 7, "val": 1}
    assert audit.trained["train"] == 7 * int(loss_mask(np.array(ids), template).sum())
    assert preview.audit(dataset, "all").trained["train"] == len(ids) * 7


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_replies_that_never_stop_are_counted_and_the_first_is_named(written, monkeypatch, block):
    monkeypatch.setattr(preview, "BLOCK_TOKENS", block)
    good = encode(CHAT)
    cut = [i for n, i in enumerate(good) if i != IM_END or IM_END in good[n + 1 :]]  # not the last
    dataset = written([good, good, cut, good, cut])
    problem = preview.audit(dataset, "assistant").problem
    assert "set: 2 of 6 replies" in problem
    assert "train conversation 2, 'assistant Hello you." in problem
    assert "\n" not in problem
    assert preview.audit(dataset, "all").problem  # there is none to train either way


def test_a_stop_that_exists_but_is_masked_is_found(written, monkeypatch):
    dataset = written([encode(CHAT)] * 3)

    def forgetful(ids, template):  # a mask that leaves the stop token out
        return loss_mask(ids, template) & (ids != IM_END)

    monkeypatch.setattr(preview, "loss_mask", forgetful)
    assert "4 of 4 replies" in preview.audit(dataset, "assistant").problem


def test_a_header_in_other_tokens_is_a_reply_all_the_same(written):
    good = encode(CHAT)
    role = tokenizer.encode("assistant")
    at = next(i for i in range(len(good)) if good[i : i + len(role)] == role)
    letters = [tokenizer.encode(c)[0] for c in "assistant"]
    odd = good[:at] + letters + good[at + len(role) :]
    audit = preview.audit(written([good, odd]), "assistant")
    assert audit.replies["train"] == 2
    assert "1 of 3 replies" in audit.problem


def test_a_line_break_merged_into_another_token_is_no_stop(written):
    good = encode(CHAT, "person")
    assert good[-2:] == [198, ENDOFTEXT]
    blank_line = tokenizer.encode("\n\n")
    assert len(blank_line) == 1
    odd = good[:-2] + blank_line + [ENDOFTEXT]
    assert "1 of 3 replies" in preview.audit(written([good, odd], "person"), "assistant").problem


def test_data_without_any_reply_fails(written):
    only_user = encode(CHAT[:1])
    assert "no stop token is ever trained" in preview.audit(written([only_user]), "all").problem


@pytest.mark.parametrize("template", ["text", "chatml"])
def test_documents_that_run_into_each_other_are_found(written, template):
    ids = encode(SAME[template], template)
    problem = preview.audit(written([ids, ids[:-1], ids], template), "assistant").problem
    assert "train has 2 <|endoftext|> for 3 conversations" in problem


# ---------------------------------------------------------------- the page


class Page(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.tags, self.tokens, self.seen = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if "data-i" in (found := dict(attributes)):
            self.tokens.append(found)

    def handle_data(self, data):
        self.seen.append(data)


def test_the_page_is_whole_harmless_and_says_what_each_token_is(written):
    evil = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)> \"'& 😀"
    said = [CHAT[0] | {"content": evil}, CHAT[1]]
    ids = encode(said)
    dataset = written([ids], name="<b>me")
    shown = preview.conversation_passages(dataset, "train", 1, 0, None, "assistant")
    text = as_html(preview.audit(dataset, "assistant"), shown, ids=False)
    page = Page(text)
    assert not {"script", "img", "link", "iframe"} & set(page.tags)
    assert "://" not in text
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text
    assert [int(t["data-n"]) for t in page.tokens] == ids
    assert sum("t" in t["class"].split() for t in page.tokens) == 5
    hello = next(t for t in page.tokens if int(t["data-n"]) == tokenizer.encode("Hello")[0])
    assert hello["data-i"] == "id 15496  ·  5 bytes: 48 65 6c 6c 6f  ·  trained"
    assert "all 2 replies of the assistant end in <|im_end|>, trained" in page.seen
    assert "<b>me: what the model sees" in page.seen


# ---------------------------------------------------------------- the command


def test_the_command_shows_writes_and_fails(written, tmp_path):
    good = encode(CHAT)
    written([good] * 5, name="good")
    endless = [i for i in good if i != IM_END]
    written([good, endless], name="bad")
    home = ("--data_dir", tmp_path)

    done = command("good", *home, "--n", 2)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("«Hello│ you│.│↵") == 2
    assert "train: 5 conversations, 95 tokens, 26.3% trained (loss_on assistant)" in done.stdout
    assert "\x1b" not in done.stdout

    page = tmp_path / "bad.html"
    done = command("bad", *home, "--html", page)
    assert done.returncode == 1
    (error,) = [x for x in done.stderr.splitlines() if x.startswith("error:")]
    for fact in (
        "bad: 1 of 3 replies",
        "<|im_end|>",
        "train conversation 1, 'assistant Hello you.'",
    ):
        assert fact in error
    assert 'class="problem"' in page.read_text(encoding="utf-8")

    for flags in (("--n", 0), ("--start", -1), ("--seed", 1, "--start", 1), ("--block_size", 0)):
        done = command("good", *home, *flags)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = command("good", *home, "--windows", "--block_size", 500)
    assert (done.returncode, done.stdout) == (1, "")
    assert "lower --block_size" in done.stderr


@pytest.mark.parametrize("no_colour", [False, True])
def test_colours_only_in_a_terminal_that_wants_them(written, tmp_path, no_colour):
    written([encode(CHAT)])
    ours, theirs = pty.openpty()
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
    environment |= {"OMP_NUM_THREADS": "1"} | ({"NO_COLOR": "1"} if no_colour else {})
    arguments = [ROOT / "data" / "preview.py", "set", "--data_dir", tmp_path]
    child = subprocess.Popen([sys.executable, *arguments], stdout=theirs, env=environment)
    os.close(theirs)
    output = b""
    try:
        while block := os.read(ours, 4096):
            output += block
    except OSError:  # what Linux says at the end
        pass
    os.close(ours)
    assert child.wait() == 0
    assert (b"\x1b[" in output) is not no_colour
    assert ("«".encode() in output) is no_colour


def test_a_reader_that_leaves_is_no_error(written, tmp_path):
    written([encode(CHAT)] * 600)
    line = f"{sys.executable} {ROOT / 'data' / 'preview.py'} set --data_dir {tmp_path} --n 600"
    done = subprocess.run(f"{line} | head -1", shell=True, capture_output=True, text=True)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")

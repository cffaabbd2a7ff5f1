"""tokenizer.py: known ids, no special token out of text, tokie equal to tiktoken, no network."""

from __future__ import annotations

import subprocess
import sys
import types
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public

import tokenizer
from jojo.files import ROOT
from tokenizer import StreamDecoder, decode, encode, encode_batch

# What splits and merges in surprising ways, beside arbitrary text.
AWKWARD = (
    *("\t's", "'s", "'ll ", "don't", "I'M", " ", "  ", "\n", "\n\n", " \n", "\r\n", "\t", "\xa0"),
    *("Ⓐ", "🅰", "🄰", "🅐", "🙂", "👩‍👩‍👧", "\u200d", "\u2028", "\x00", "\x1c", "\x85", "e\u0301"),
    *("1,234.5", "١٢", "你好", "naïve", "…", "’s", "word", "<|im_end|>", "<|endoftext|>", "\ufeff"),
)
texts = st.lists(st.one_of(st.sampled_from(AWKWARD), st.text(max_size=8)), max_size=12).map("".join)
surrogates = st.text(st.characters(), max_size=6)  # lone surrogates included
LOOKALIKES = ("<|endoftext|>", "<|im_end|>", "<|im_start|>")

CONTEXTS = ("{}", "a{}", "{}a", " {}", "{}'s", "1{}", "{}{}", "a {} b\n")


@pytest.fixture
def always_bulk(monkeypatch):
    """Even small batches take tokie."""
    assert tokenizer.bulk() is not None
    monkeypatch.setattr(tokenizer, "_BULK_CHARACTERS", 0)


@pytest.fixture
def fresh_bulk():
    """`bulk()` decides anew, before and after the test."""
    tokenizer.bulk.cache_clear()
    yield
    tokenizer.bulk.cache_clear()


def tiktoken_ids(batch) -> list[list[int]]:
    return [tokenizer.reference().encode_ordinary(text) for text in batch]


def bulk_ids(batch) -> list[list[int]]:
    ids, lengths = encode_batch(batch)
    assert ids.dtype == np.uint16
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths))[: len(batch)]]


# ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("Hello, world!", [15496, 11, 995, 0]),
        ("hello world", [31373, 995]),
        ("They'll see.", [2990, 1183, 766, 13]),
        ("\n", [198]),
        ("\n\n", [628]),
        ("🙂", [8582, 25081]),
        ("<|endoftext|>", [27, 91, 437, 1659, 5239, 91, 29]),
    ],
)
def test_known_texts_have_the_ids_of_gpt2(text, ids):
    assert encode(text) == ids


def test_split_pattern_is_tiktokens_own():
    assert openai_public.r50k_pat_str == tokenizer.PATTERN


def test_special_ids_are_the_contract():
    special = tokenizer.ENDOFTEXT, tokenizer.IM_END, tokenizer.IM_START
    assert special == (50256, 50257, 50258)
    assert decode(special) == "<|endoftext|><|im_end|><|im_start|>"
    assert tokenizer.N_TOKENS == 50259


@pytest.mark.parametrize("text", [*LOOKALIKES, "".join(LOOKALIKES), "a <|im_end|>\nb"])
def test_a_special_token_spelled_in_a_text_stays_text(text, always_bulk):
    for ids in (encode(text), *bulk_ids([text, "other"])[:1]):
        assert max(ids) < tokenizer.ENDOFTEXT
        assert decode(ids) == text


@given(texts)
def test_decoding_gives_the_text_back(text):
    assert decode(encode(text)) == text


def test_arrays_decode_like_lists():
    assert decode(np.array([15496, 11], dtype=np.uint16)) == "Hello,"
    assert decode([]) == ""


@pytest.mark.parametrize("wrong", [50259, 50303, 10**6, -1])
def test_an_id_that_does_not_exist_is_named(wrong, complaint):
    assert str(wrong) in complaint(decode, [15496, wrong])


# many texts at once


@settings(max_examples=150)
@given(st.lists(st.one_of(texts, surrogates), max_size=8))
def test_bulk_encoding_equals_tiktoken(batch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "_BULK_CHARACTERS", 0)
        assert bulk_ids(batch) == tiktoken_ids(batch)


def test_small_batches_equal_tiktoken():
    batch = ["Hello", "", "\t's", "🙂"]
    assert bulk_ids(batch) == tiktoken_ids(batch)
    assert bulk_ids([]) == []


def test_long_documents_equal_tiktoken():
    text = "It's a long day's journey, isn't it? They'll see: 12,345 naïve cafés…\n\n" * 2000
    batch = [text, text[:-1], text + "\t's Ⓐ", "", text.upper()]
    assert len(text) > tokenizer._BULK_CHARACTERS
    assert bulk_ids(batch) == tiktoken_ids(batch)


def test_real_dialogues_equal_tiktoken(realdata, always_bulk):
    text = (realdata / "tinystories" / "TinyStories-train.head2MiB.txt").read_text("utf-8")
    stories = text.split("<|endoftext|>")[:500]
    assert bulk_ids(stories) == tiktoken_ids(stories)


def printable(step: int):
    return islice(filter(str.isprintable, map(chr, range(sys.maxunicode + 1))), 0, None, step)


def sweep(context: str, step: int) -> list[str]:
    """Texts for which tokie is trusted although it differs from tiktoken."""
    batch = [context.replace("{}", character) for character in printable(step)]
    trusted = [text for text in batch if tokenizer.tokie_agrees(text)]
    assert len(trusted) > 0.99 * len(batch)
    ids, lengths = tokenizer.bulk().encode_batch_flat(trusted, add_special_tokens=False)
    parts = np.split(ids, np.cumsum(lengths.astype(np.int64)))[:-1]
    expected = tokenizer.reference().encode_ordinary_batch(trusted, num_threads=2)
    pairs = zip(trusted, parts, expected, strict=True)
    return [text for text, ours, theirs in pairs if ours.tolist() != theirs]


@pytest.mark.slow
@pytest.mark.parametrize("context", CONTEXTS)
def test_tokie_is_trusted_only_where_it_equals_tiktoken(context):
    assert sweep(context, step=1) == []


@pytest.mark.parametrize("context", CONTEXTS)
def test_tokie_is_trusted_only_where_it_equals_tiktoken_sampled(context):
    assert sweep(context, step=97) == []


@pytest.mark.parametrize("text", ["\t's", "\xa0's", "Ⓐ", "ⓩ", "🄰", "🅉", "🅐", "🅰", "🆉", "\u2028"])
def test_texts_where_tokie_differs_take_tiktoken(text):
    assert not tokenizer.tokie_agrees(text)


@pytest.mark.parametrize("text", ["Hello, it's me.\n", "naïve 你好 🙂", "a\n\n\nb", ""])
def test_usual_texts_take_the_fast_way(text):
    assert tokenizer.tokie_agrees(text)


def test_without_tokie_the_ids_are_the_same(monkeypatch, fresh_bulk):
    monkeypatch.setitem(sys.modules, "tokie", None)  # import tokie now fails
    monkeypatch.setattr(tokenizer, "_BULK_CHARACTERS", 0)
    assert tokenizer.bulk() is None
    assert bulk_ids(["Hello", "🙂"]) == [[15496], [8582, 25081]]


def test_a_tokie_that_fails_the_self_check_is_not_used(monkeypatch, fresh_bulk):
    class Wrong:
        @staticmethod
        def from_json(path):
            return Wrong()

        def encode(self, text, add_special_tokens):
            return types.SimpleNamespace(ids=[1, 2, 3])

    monkeypatch.setitem(sys.modules, "tokie", types.SimpleNamespace(Tokenizer=Wrong))
    monkeypatch.setattr(tokenizer, "_BULK_CHARACTERS", 0)
    assert tokenizer.bulk() is None
    assert bulk_ids(["Hello"]) == [[15496]]


# one id at a time


@given(texts)
def test_streamed_pieces_join_to_the_text(text):
    stream = StreamDecoder()
    pieces = [stream.push(token) for token in encode(text)]
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text
    assert "".join(pieces) + stream.flush() == text


@given(st.lists(st.integers(0, tokenizer.N_TOKENS - 1), max_size=20))
def test_streaming_any_ids_equals_decoding_them(ids):
    stream = StreamDecoder()
    assert "".join(map(stream.push, ids)) + stream.flush() == decode(ids)


def test_half_an_emoji_is_held_back():
    first, second = encode("🙂")
    stream = StreamDecoder()
    assert stream.push(first) == ""
    assert stream.push(second) == "🙂"
    assert stream.flush() == ""


def test_flush_shows_what_never_became_whole_and_starts_over():
    stream = StreamDecoder()
    stream.push(encode("🙂")[0])
    assert stream.flush() == "\ufffd"
    assert stream.push(15496) == "Hello"


# no network

OFFLINE = """
import socket

class Refused(socket.socket):
    def connect(self, *address):
        raise AssertionError(f"the tokenizer reached for the network: {address}")

def refuse(*address, **options):
    raise AssertionError(f"the tokenizer reached for the network: {address}")

socket.socket, socket.create_connection, socket.getaddrinfo = Refused, refuse, refuse
import tokenizer
tokenizer._BULK_CHARACTERS = 0
assert tokenizer.encode("Hello") == [15496]
assert tokenizer.encode_batch(["Hello"])[0].tolist() == [15496]
"""


def test_no_network_is_needed(tmp_path):
    environment = {"PATH": "", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_many_texts_at_once_take_the_slow_way_where_one_needs_it():
    texts = ["plain text.\n"] * 20_000
    for odd in ("\t's", "Ⓐ", "it\x00s", "a\u2028b", "half \ud83d", "naïve “quotes” 你好 🙂"):
        many = [*texts, odd]
        ids, lengths = tokenizer.encode_batch(many)
        assert ids[-int(lengths[-1]) :].tolist() == tokenizer.encode(odd)
        assert tokenizer.tokie_agrees_on_all(many) == tokenizer.tokie_agrees(odd)
    assert tokenizer.tokie_agrees_on_all([])

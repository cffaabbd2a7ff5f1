"""Mixtures: shares of tokens, repeats, what is dropped, and that the sums add up."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jojo.data.bins import DatasetWriter, conversation_starts, open_dataset
from jojo.data.mixture import mix, shares
from jojo.text.template import Message, decode, encode_batch
from tokenizer import ENDOFTEXT


def conversation(word: str, number: int, words: int) -> list[Message]:
    said = " ".join([word, str(number), *["and so on"] * words])
    return [{"role": "user", "content": word}, {"role": "assistant", "content": said}]


@pytest.fixture
def written(tmp_path):
    """Writes a dataset of `n` conversations about `word`; some more may be given for a split."""

    def write(name, n=200, template="chatml", words=None, train=(), val=(), licence="MIT", **kw):
        rng = random.Random(name)
        with DatasetWriter(tmp_path, name, template=template, **kw) as writer:
            for i in range(n):
                length = rng.randint(0, 30) if words is None else words
                messages = conversation(name, i, length)
                if template == "text":
                    messages = messages[1:]
                ids = encode_batch([messages], template)[0]
                writer.add("val" if i % 10 == 0 else "train", ids)
            for split, more in (("train", train), ("val", val)):
                for messages in more:
                    writer.add(split, encode_batch([messages], template)[0])
            writer.commit(licence=licence, sources=[f"about {name}"], records_in=n)
        return name

    return write


def counted(name, folder, split="train") -> Counter:
    """How often each conversation stands in a split, by its ids."""
    return Counter(c.tobytes() for c in open_dataset(name, folder).conversations(split))


def facts(manifest) -> dict:
    return manifest.notes["mixture"]


def adds_up(manifest) -> bool:
    kept = sum(manifest.conversations.values())
    return manifest.records_in == kept + sum(manifest.dropped.values())


# ---------------------------------------------------------------- how much of each


@pytest.mark.parametrize(
    ("tokens", "weights", "passes", "wanted"),
    [
        ([100, 300], None, [4, 4], [100, 300]),  # each once
        ([100, 300], [1, 3], [4, 4], [100, 300]),  # already in proportion
        ([100, 100], [3, 1], [4, 4], [300, 100]),  # the one with less weight once whole
        ([100, 900], [1, 1], [4, 4], [400, 400]),  # more than four times: the other is cut
        ([100, 900], [1, 1], [1, 1], [100, 100]),
        ([100, 200, 300], [2, 1, 1], [4, 4, 4], [400, 200, 200]),
    ],
)
def test_shares_are_exact(tokens, weights, passes, wanted):
    assert shares(tokens, weights, passes) == pytest.approx(wanted)


@given(
    st.lists(
        st.tuples(st.integers(1, 10**9), st.floats(0.01, 100), st.integers(1, 5)),
        min_size=2,
        max_size=5,
    )
)
def test_shares_keep_the_proportion_and_never_repeat_too_often(sets):
    tokens, weights, passes = (list(x) for x in zip(*sets, strict=True))
    wanted = shares(tokens, weights, passes)
    total = math.fsum(wanted)
    used = [w / n for w, n in zip(wanted, tokens, strict=True)]
    for w, weight, times, most in zip(wanted, weights, used, passes, strict=True):
        assert w / total == pytest.approx(weight / math.fsum(weights))
        assert times <= most * (1 + 1e-9)
    at_limit = any(t >= p * (1 - 1e-9) for t, p in zip(used, passes, strict=True))
    assert at_limit or min(used) == pytest.approx(1)


# ---------------------------------------------------------------- what is written


def test_a_mixture_has_the_shares_asked_for_in_whole_conversations(written, tmp_path, capsys):
    written("cats"), written("dogs", licence="CC BY 4.0")
    manifest = mix(["cats", "dogs"], [3, 1], "both", tmp_path)
    found = counted("both", tmp_path)
    cats, dogs = counted("cats", tmp_path), counted("dogs", tmp_path)
    assert set(found) == set(cats) | set(dogs)
    assert {found[c] for c in cats} <= {2, 3, 4}
    assert {found[d] for d in dogs} == {1}
    of_cats = sum(len(c) // 2 * n for c, n in found.items() if c in cats)
    assert of_cats == facts(manifest)["cats"]["tokens"]
    assert of_cats / manifest.tokens["train"] == pytest.approx(0.75, abs=0.002)
    assert facts(manifest)["cats"]["share_got"] == pytest.approx(0.75, abs=0.002)
    assert facts(manifest)["dogs"]["times_used"] == 1
    assert counted("both", tmp_path, "val") == counted("cats", tmp_path, "val") + counted(
        "dogs", tmp_path, "val"
    )
    assert adds_up(manifest)
    assert (manifest.dropped, manifest.licence) == ({}, "MIT + CC BY 4.0")
    assert manifest.private is False
    assert {"about cats", "about dogs"} < set(manifest.sources)
    report = capsys.readouterr().err
    assert "75.0%   75.0%" in report
    assert f"{manifest.records_in:,} records in" in report


@pytest.mark.parametrize("licence", ["as the files that were read", ""])
def test_a_mixture_with_a_private_part_is_private(licence, written, tmp_path):
    written("cats"), written("dogs", licence=licence)
    assert mix(["cats", "dogs"], None, "both", tmp_path).private is True
    assert open_dataset("both", tmp_path).manifest.private is True


def test_it_is_shuffled_and_a_pure_function_of_the_seed(written, tmp_path):
    written("cats", words=3), written("dogs", words=3)
    names, weights = ["cats", "dogs"], [2, 3]
    one = mix(names, weights, "one", tmp_path, seed=1)
    again = mix(names, weights, "again", tmp_path, seed=1)
    other = mix(names, weights, "other", tmp_path, seed=2)
    assert one.hash == again.hash != other.hash
    order = ["cats" in c[1]["content"] for c in decoded("one", tmp_path)]
    changes = sum(a != b for a, b in pairwise(order))
    assert changes > len(order) / 4


def decoded(name, folder, split="train"):
    return [decode(ids) for ids in open_dataset(name, folder).conversations(split)]


def test_no_conversation_is_repeated_too_often_and_the_larger_set_is_cut(written, tmp_path):
    written("few", n=20), written("many", n=600)
    manifest = mix(["few", "many"], [1, 1], "both", tmp_path, max_repeats=3)
    found = counted("both", tmp_path)
    few, many = counted("few", tmp_path), counted("many", tmp_path)
    assert {found[c] for c in few} == {3}
    left = [c for c in many if c in found]
    assert {found[c] for c in left} == {1}
    assert manifest.dropped == {"cut to its share": len(many) - len(left)}
    assert facts(manifest)["few"]["share_got"] == pytest.approx(0.5, abs=0.02)
    assert adds_up(manifest)
    assert manifest.records_in == sum(
        [20, 600, 2 * len(few)]  # every conversation, and the two further readings of `few`
    )


def test_what_is_held_out_anywhere_is_not_trained_on(written, tmp_path):
    leak = conversation("leak", 1, 2)
    written("cats", train=[leak]), written("dogs", val=[leak])
    manifest = mix(["cats", "dogs"], None, "both", tmp_path)
    key = encode_batch([leak])[0].tobytes()
    assert (counted("both", tmp_path)[key], counted("both", tmp_path, "val")[key]) == (0, 1)
    assert manifest.dropped == {"also in a validation split": 1}
    assert adds_up(manifest)


def test_a_conversation_in_two_sets_counts_as_one(written, tmp_path):
    shared, held_out = conversation("both", 1, 2), conversation("held", 1, 2)
    written("cats", n=50, train=[shared], val=[held_out])
    written("dogs", n=300, train=[shared], val=[held_out])
    manifest = mix(["cats", "dogs"], [1, 1], "both", tmp_path, max_repeats=2)
    found = counted("both", tmp_path)
    assert max(found.values()) == 2
    assert found[encode_batch([shared])[0].tobytes()] == 2
    assert counted("both", tmp_path, "val")[encode_batch([held_out])[0].tobytes()] == 1
    assert manifest.dropped["validation: in several sets"] == 1
    assert adds_up(manifest)


def test_mixtures_of_mixtures(written, tmp_path):
    written("cats"), written("dogs"), written("birds")
    mix(["cats", "dogs"], [3, 1], "pets", tmp_path)
    most = max(counted("pets", tmp_path).values())
    assert most == 4  # 3 of 4 parts, and dogs happen to be a little longer
    manifest = mix(["pets", "birds"], [5, 1], "all", tmp_path)
    found = counted("all", tmp_path)
    assert max(found.values()) == most  # a mixture that repeats is itself not repeated
    assert facts(manifest)["pets"]["share_got"] == pytest.approx(5 / 6, abs=0.01)
    assert adds_up(manifest)


def test_plain_texts_mix_and_have_no_txt_where_a_source_has_none(written, tmp_path):
    written("cats", template="text", write_text=False), written("dogs", template="text")
    mix(["cats", "dogs"], None, "both", tmp_path)
    ids = open_dataset("both", tmp_path).ids["train"]
    assert int((ids == ENDOFTEXT).sum()) == 360
    assert not (tmp_path / "both-train.txt").exists()
    written("birds", template="text")
    mix(["birds", "dogs"], None, "both", tmp_path)
    assert (tmp_path / "both-train.txt").exists()


@pytest.mark.parametrize("block", [1, 500])
def test_blocks_change_nothing(written, tmp_path, monkeypatch, block):
    written("cats", n=40), written("dogs", n=40)
    whole = mix(["cats", "dogs"], [2, 1], "whole", tmp_path)
    monkeypatch.setattr("jojo.data.mixture.BLOCK_TOKENS", block)
    assert mix(["cats", "dogs"], [2, 1], "blocks", tmp_path).hash == whole.hash


def test_documents_stand_among_conversations(written, tmp_path, capsys):
    written("cats"), written("story", template="text")
    manifest = mix(["cats", "story"], [1, 1], "both", tmp_path)
    assert manifest.template == "chatml"
    found = counted("both", tmp_path)
    assert set(counted("story", tmp_path)) <= set(found)  # unchanged, without turns
    assert manifest.conversations["train"] == found.total()
    assert facts(manifest)["story"]["template"] == "text"
    assert "conversations and documents in train" in capsys.readouterr().err
    assert adds_up(manifest)


def test_sets_that_hold_nothing_out(written, tmp_path, capsys):
    """Their val is no validation; where there is no other, the mixture's val repeats its train."""
    for name in ("few", "little"):
        with DatasetWriter(tmp_path, name, template="chatml") as writer:
            for i in range(3):
                writer.add("train", encode_batch([conversation(name, i, 3)])[0])
            writer.repeat_train()
            writer.commit(records_in=5, dropped={"empty": 2})
    manifest = mix(["few", "little"], None, "both", tmp_path)
    assert (manifest.conversations["train"], manifest.records_in) == (6, 6)
    assert not manifest.holds_out
    assert "nothing is held out" in manifest.notes["val"]
    assert "nothing is held out" in capsys.readouterr().err
    assert facts(manifest)["few"]["records_in"] == 5
    assert facts(manifest)["few"]["dropped"] == {"empty": 2}
    written("cats")
    manifest = mix(["few", "cats"], None, "more", tmp_path)
    assert counted("more", tmp_path, "val") == counted("cats", tmp_path, "val")
    assert manifest.conversations["train"] == 3 + 180
    assert adds_up(manifest)


def test_where_conversations_begin():
    ids = np.array([5, ENDOFTEXT, 6, 7, ENDOFTEXT], np.uint16)
    assert conversation_starts(ids).tolist() == [0, 2, 5]
    assert conversation_starts(ids[:4]).tolist() == [0, 2, 4]


# ---------------------------------------------------------------- what goes wrong


def test_one_clear_line_and_nothing_written(written, tmp_path, complaint):
    written("cats"), written("story", template="person"), written("dogs", n=30)
    chats = [m for n in range(0, 30, 10) for m in [conversation("dogs", n, 5)]]
    written("held", n=0, train=chats, val=chats[::-1])
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    said = complaint(mix, ["cats", "story"], None, "both", tmp_path)
    assert said == (
        "a mixture has one template, but cats is chatml, story is person: mix sets of one "
        "template, or text with chatml"
    )
    assert "nothing of dogs is left" in complaint(
        mix, ["cats", "dogs"], [1e12, 1], "both", tmp_path
    )
    assert "everything in held is also in a validation split" in complaint(
        mix, ["cats", "held"], None, "both", tmp_path
    )
    assert "dataset 'birds' is not in" in complaint(mix, ["cats", "birds"], None, "x", tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before

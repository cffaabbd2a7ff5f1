from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jojo.data import dedup
from jojo.data.dedup import SHARED, Seen, copies, fingerprint

TALK = ["Shall we go for a walk by the river tonight?", "I would love to, but it is raining."]


def runs(turns: list[str]) -> set:
    words = " ".join(turns).split()
    return {tuple(words[i : i + 3]) for i in range(max(1, len(words) - 2))}


def is_near(a: list[str], b: list[str]) -> bool:
    x, y = runs(a), runs(b)
    return len(x & y) >= SHARED * min(len(x), len(y))


def test_fingerprint_is_the_same_everywhere() -> None:
    assert fingerprint(["a", "b"]) == 15452405053029596089
    assert fingerprint(["ab"]) != fingerprint(["a", "b"])


def test_case_and_punctuation_make_no_difference() -> None:
    shouted = [t.upper().replace(",", "!") for t in TALK]
    assert copies([TALK, shouted]) == {1: (0, "exact duplicate")}


def test_a_dialogue_inside_a_longer_one() -> None:
    longer = ["Hello, Sam.", "Oh, hello there!", *TALK, "Tomorrow, then.", "That suits me well."]
    assert copies([TALK, longer]) == {0: (1, "near duplicate")}


def test_few_words_changed() -> None:
    changed = [TALK[0].replace("river", "lake") + " I am so free now.", *TALK[1:], *TALK]
    other = ["What time does the next train to London leave?", "At half past nine, I think."]
    assert copies([TALK, other, changed]) == {0: (2, "near duplicate")}


def test_keep_first_stays_though_shorter() -> None:
    longer = [*TALK, "Tomorrow, then.", "That suits me well."]
    assert copies([longer, TALK], keep_first=[False, True]) == {0: (1, "near duplicate")}


def test_tiny_and_empty_input() -> None:
    assert copies([]) == {}
    assert copies([["hi"], ["hi"], ["ho"], [""], ["!"]]) == {
        1: (0, "exact duplicate"),
        4: (3, "exact duplicate"),
    }


def test_finds_all_that_comparing_every_pair_finds() -> None:
    draw = random.Random(3)
    words = [f"w{i}" for i in range(12)]
    talks = []
    for _ in range(150):
        talk = [" ".join(draw.choices(words, k=draw.randint(3, 14))) for _ in range(2)]
        if talks and draw.random() < 0.5:  # a variant of an earlier one
            talk = [*draw.choice(talks)[:2]]
            talk[draw.randrange(2)] += " " + draw.choice(words)
        talks.append(talk)
    found = copies(talks)
    kept = [t for i, t in enumerate(talks) if i not in found]
    assert not [1 for i, a in enumerate(kept) for b in kept[:i] if is_near(a, b)]
    for copy, (original, how) in found.items():
        assert original not in found
        assert how in ("exact duplicate", "near duplicate")
        assert is_near(talks[copy], talks[original])


@given(st.lists(st.lists(st.integers(0, 50), max_size=20), max_size=12))
def test_seen_is_a_set(batches: list[list[int]]) -> None:
    seen, known = Seen(), set()
    for batch in batches:
        new = seen.add(np.array(batch, dtype=np.uint64))
        for key, is_new in zip(batch, new, strict=True):
            assert is_new == (key not in known)
            known.add(key)


def varied(n: int) -> list[list[str]]:
    """Talks of random words; every fourth is one before it with a word or two changed."""
    draw = random.Random(7)
    words = [f"w{i}" for i in range(400)]
    talks: list[list[str]] = []
    for k in range(n):
        if k % 4 == 3:
            talk = " / ".join(talks[-draw.randint(1, 3)]).split()
            talk[draw.randrange(len(talk))] = draw.choice(words)
            talks.append(" ".join(talk).split(" / "))
        else:
            talks.append([" ".join(draw.choices(words, k=20)) for _ in range(2)])
    return talks


def test_minhash_finds_what_the_exact_search_finds(monkeypatch) -> None:
    talks = [*varied(400), TALK, [t.upper() for t in TALK]]
    exact = copies(talks)
    assert len(exact) == 101  # every fourth, and the shouted one
    monkeypatch.setattr(dedup, "EXACT_WORDS", 0)
    found = copies(talks)
    assert set(found) <= set(exact)
    assert len(found) >= 0.98 * len(exact)
    for copy, (original, how) in found.items():
        assert how == "near duplicate" if copy < 400 else how == "exact duplicate"
        assert original not in found
        assert is_near(talks[copy], talks[original]) or how == "exact duplicate"


def test_minhash_keeps_the_marked_and_takes_tiny_ones(monkeypatch) -> None:
    monkeypatch.setattr(dedup, "EXACT_WORDS", 0)
    longer = [*TALK, "Tomorrow, then."]
    assert copies([longer, TALK], keep_first=[False, True]) == {0: (1, "near duplicate")}
    assert copies([]) == {}
    assert copies([["hi"], ["hi"], ["ho"], [""]]) == {1: (0, "exact duplicate")}


def test_many_alike_are_compared_with_few(monkeypatch) -> None:
    """Thousands of near copies of one another: all but the first go, in no time squared."""
    monkeypatch.setattr(dedup, "EXACT_WORDS", 0)
    line = (
        "This is line number {} of the log that the same program wrote today, word for word again."
    )
    found = copies([[line.format(i)] for i in range(3_000)])
    assert found == {i: (0, "near duplicate") for i in range(1, 3_000)}


@pytest.mark.slow
def test_a_million_identical_lines() -> None:
    found = copies([TALK] * 1_000_000)
    assert len(found) == 999_999
    assert found[999_999] == (0, "exact duplicate")

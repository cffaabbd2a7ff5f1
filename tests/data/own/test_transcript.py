"""jojo/data/own/transcript.py: who speaks, where a chat is cut, what is left out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jojo.command import seconds
from jojo.data.contract import Tally
from jojo.data.own.transcript import ChatLine, ExportOptions, moment, to_conversations

HOUR = 3600.0


def chat(*lines: tuple, export: str = "chat.txt", room: str = "") -> list[ChatLine]:
    """(hours, author, text) each."""
    return [
        ChatLine(
            time=None if hours is None else hours * HOUR,
            author=author,
            text=text,
            where=f"{export}, line {n}",
            room=room or export,
        )
        for n, (hours, author, text) in enumerate(lines, start=1)
    ]


def spoken(lines: list[ChatLine], **options) -> tuple[list[list[str]], Tally]:
    """Conversations as "u: text" and "a: text", and the tally; all messages are accounted for."""
    tally = Tally()
    found = list(to_conversations(lines, ExportOptions(**options), tally))
    assert tally.records_in == len(found) + sum(tally.dropped.values())
    return [[f"{m['role'][0]}: {m['content']}" for m in c.messages] for c in found], tally


PIZZA = chat(
    (0, "Anna", "pizza?"),
    (0.1, "Bob", "yes"),
    (0.2, "Bob", "with olives"),
    (0.3, "Anna", "ordered"),
    (0.4, "Bob", "great"),
)


def test_turns_of_one_side_are_merged_and_the_opening_stays() -> None:
    found, tally = spoken(PIZZA, me="Anna")
    assert found == [["a: pizza?", "u: yes\nwith olives", "a: ordered"]]
    assert tally.skipped == {"a last message without a reply": 1}
    assert tally.first == {"a last message without a reply": "chat.txt, line 5"}


def test_the_other_one_is_the_assistant() -> None:
    found, tally = spoken(PIZZA, me="Bob")
    assert found == [["u: pizza?", "a: yes\nwith olives", "u: ordered", "a: great"]]
    assert not tally.skipped


def test_a_group_is_one_user() -> None:
    lines = chat(
        (0, "Anna", "who comes?"), (0, "Carl", "me"), (0, "Dora", "me too"), (0, "Bob", "ok")
    )
    assert spoken(lines, me="bob")[0] == [["u: who comes?\nme\nme too", "a: ok"]]


def test_lines_out_of_order_are_sorted_and_those_without_a_time_stay_behind_their_neighbour() -> (
    None
):
    lines = chat(
        (2, "Anna", "third"), (None, "Bob", "fourth"), (1, "Anna", "first"), (1, "Bob", "second")
    )
    assert spoken(lines, me="Bob")[0] == [["u: first", "a: second", "u: third", "a: fourth"]]


def test_a_silence_cuts_and_only_a_longer_one() -> None:
    lines = chat(
        *((0, "Anna", "hi"), (6, "Bob", "hello")),
        *((12.01, "Anna", "morning"), (12.1, "Bob", "oh, hi")),
    )
    assert spoken(lines, me="Bob")[0] == [["u: hi", "a: hello"], ["u: morning", "a: oh, hi"]]
    assert len(spoken(lines, me="Bob", gap="1d")[0]) == 1
    cut, tally = spoken(lines, me="Bob", gap="30m")
    assert cut == [["u: morning", "a: oh, hi"]]
    assert tally.dropped == {"no assistant turn": 1, "no user turn": 1}


def test_a_chat_without_a_pause_is_cut_where_the_user_begins() -> None:
    lines = chat(*((0, "Bob" if i % 2 else "Anna", str(i)) for i in range(85)))
    found, tally = spoken(lines, me="Bob")
    assert [len(c) for c in found] == [40, 40, 4]
    assert [c[0] for c in found] == ["u: 0", "u: 40", "u: 80"]
    assert tally.skipped == {"a last message without a reply": 1}
    assert [len(c) for c in spoken(lines[1:], me="Bob")[0]] == [41, 40, 2]


def test_rooms_do_not_mix() -> None:
    one = chat((0, "Anna", "a?"), (2, "Bob", "a!"), room="one")
    two = chat((1, "Anna", "b?"), (3, "Bob", "b!"), room="two")
    assert spoken(one + two, me="Bob")[0] == [["u: a?", "a: a!"], ["u: b?", "a: b!"]]


def test_conversations_of_no_use_are_dropped_with_a_reason_and_a_place() -> None:
    lines = [
        *chat((0, "Anna", "hello?"), (0, "Carl", "anybody?"), room="1"),
        *chat((0, "Bob", "dear diary"), room="2"),
        *chat((0, "Bob", "there?"), (0, "Anna", "yes"), room="3"),
    ]
    found, tally = spoken(lines, me="Bob")
    assert not found
    assert tally.dropped == {
        "no assistant turn": 1,
        "no user turn": 1,
        "no user turn with a reply": 1,
    }
    assert tally.first["no user turn"] == "chat.txt, line 1"


def test_the_system_message_stands_first() -> None:
    found, _ = spoken(PIZZA, me="Bob", system=" You are Bob. ")
    assert found[0][:2] == ["s: You are Bob.", "u: pizza?"]


def test_broken_characters_are_taken_out_and_empty_messages_skipped() -> None:
    lines = chat((0, "Anna", "so \ud83d\ude00 \ud83d!"), (0, "Anna", " "), (0, "Bob", "ok"))
    found, tally = spoken(lines, me="Bob")
    assert found == [["u: so 😀 !", "a: ok"]]
    assert tally.skipped == {"no text": 1}
    assert tally.changed == {"messages without their broken characters": 1}


@pytest.mark.parametrize(
    ("me", "who"),
    [
        ("ANNA", "Anna"),
        ("anna", "Anna"),
        ("Anna-L", "Anna-Lena"),
        ("lena", "Anna-Lena"),
        ("@bob", "Bob"),
    ],
)
def test_a_name_may_be_given_in_part(me: str, who: str) -> None:
    lines = chat((0, "Anna", "1"), (0, "Anna-Lena", "2"), (0, "Bob", "3"), (0, "Carl", "4"))
    for line in lines:
        line.text = "mine" if line.author == who else "theirs"
    lines += chat((0.1, "Carl", "theirs"), (0.2, who, "mine"))
    turns = spoken(lines, me=me)[0][0]
    assert {t for t in turns if "mine" in t} == {"a: mine"}
    assert all("mine" not in t for t in turns if t.startswith("u"))


def test_other_names_of_an_author_count() -> None:
    lines = chat((0, "Anna", "hi"), (0, "bob92", "hello"))
    lines[1].also = ("Bob Smith",)
    assert spoken(lines, me="bob smith")[0] == [["u: hi", "a: hello"]]


def test_a_name_that_matches_nobody_lists_who_there_is(complaint) -> None:
    lines = chat((0, "Bob", "1"), (0, "Anna", "2"), (0, "Anna", "3"))
    assert complaint(spoken, lines, me="Zoe") == (
        "`me` 'Zoe' matches nobody; the names found are Anna (2), Bob (1) (messages)"
    )
    many = chat(*((0, f"P{i:02}", "x") for i in range(23)))
    assert complaint(spoken, many, me="Zoe").endswith("P18 (1), P19 (1) and 3 more (messages)")
    assert complaint(spoken, many, me="p1").startswith("`me` 'p1' could be any of P10 (1), P11 (1)")
    assert "matches nobody" in complaint(spoken, many, me="")


def test_without_a_name_the_owner_of_the_export_is_taken(capsys) -> None:
    lines = chat((0, "Anna", "1"), (0, "Anna", "2"), (0, "Bob", "3"))
    lines[2].me = True
    assert spoken(lines)[0] == [["u: 1\n2", "a: 3"]]
    assert "speaks as Bob (1 of 3 messages); --me NAME" in capsys.readouterr().err


def test_without_an_owner_whoever_writes_most_and_one_person_for_several_exports() -> None:
    assert spoken(chat((0, "Bob", "1"), (0, "Anna", "2"), (0, "Bob", "3")))[0] == [
        ["a: 1", "u: 2", "a: 3"]
    ]
    first = chat((0, "Bob", "hi"), (0, "Bob", "you"), (0, "Me", "yes"), export="bob.txt")
    second = chat((0, "Carl", "hi"), (0, "Carl", "you"), (0, "Me", "yo"), export="carl.txt")
    strangers = chat((0, "X", "hm"), (0, "Y", "hm?"), (0, "Y", "hm!"), export="other.txt")
    assert spoken(first + second + strangers)[0] == [
        ["u: hi\nyou", "a: yes"],
        ["u: hi\nyou", "a: yo"],
        ["u: hm", "a: hm?\nhm!"],
    ]
    second[2].me = True  # one export tells; the same person is taken in the others
    assert spoken(first + second)[0] == [["u: hi\nyou", "a: yes"], ["u: hi\nyou", "a: yo"]]


def test_names_are_replaced_alike_in_all_conversations() -> None:
    lines = chat(
        (0, "Bob Smith", "I'm Bob"),
        (0, "Anna", "hi bob"),
        (9, "Bob Smith", "Anna?"),
        (9, "Anna", "yes"),
    )
    found, tally = spoken(lines, me="Anna", anonymize=True)
    assert found == [["u: I'm Alex", "a: hi Alex"], ["u: Robin?", "a: yes"]]
    assert tally.changed == {"names replaced": 3}


def test_a_limit_counts_conversations() -> None:
    lines = chat((0, "A1", "x"), (0, "B1", "y"), (9, "A1", "x2"), (9, "B1", "y2"))
    tally = Tally(limit=1)
    assert len(list(to_conversations(lines, ExportOptions(me="B1"), tally))) == 1
    assert tally.records_in == 1


def test_a_gap_is_a_time(complaint) -> None:
    assert seconds("2d", "--gap") == 2 * 86400
    assert "`gap` '6 hours' is no duration" in complaint(spoken, PIZZA, gap="6 hours")
    assert "`gap` '0h' is no duration" in complaint(spoken, PIZZA, gap="0h")


def test_nothing_gives_nothing() -> None:
    assert spoken([], me="Bob") == ([], Tally())


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from("ABC"), st.sampled_from("xy")), max_size=30
    )
)
def test_every_message_is_used_skipped_or_dropped(drawn) -> None:
    lines = [
        ChatLine(hours * HOUR, author, f"{i}", f"chat, line {i}", room)
        for i, (hours, author, room) in enumerate(drawn)
    ]
    lines.append(ChatLine(0.0, "A", "a", "chat, line -1", "z"))
    tally = Tally()
    found = list(to_conversations(lines, ExportOptions(me="A"), tally))
    used = [text for c in found for m in c.messages for text in m["content"].split("\n")]
    assert len(set(used)) == len(used)
    left = len(lines) - len(used) - tally.skipped["a last message without a reply"]
    assert left >= tally.records_in - len(found) == tally.dropped.total() >= 1
    for c in found:
        roles = [m["role"] for m in c.messages]
        assert "user" in roles
        assert roles[-1] == "assistant"
        assert all(a != b for a, b in pairwise(roles))
        times = [lines[int(t)].time for m in c.messages for t in m["content"].split("\n")]
        assert times == sorted(times)
        assert all(b - a <= 6 * HOUR for a, b in pairwise(times))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(1.5e9, 1.5e9), ("1500000000", 1.5e9), (1_500_000_000_123, 1_500_000_000.123), (-5, -5.0)]
    + [(value, None) for value in (10**400, "nan", float("inf"), "soon", None, True, [1])],
)
def test_moments(value, seconds):
    assert moment(value) == seconds

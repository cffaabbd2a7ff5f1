"""jojo/data/clean/anonymize.py: what is taken out, and what must stay."""

from __future__ import annotations

import pytest

from jojo.data.clean.anonymize import Anonymizer, anonymize


def hidden(text: str, *names: str) -> str:
    messages, replaced = anonymize([{"role": "user", "content": text}], names)
    assert (sum(replaced.values()) > 0) == (messages[0]["content"] != text)
    return messages[0]["content"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("thanks, bob!", "thanks, Alex!"),
        ("Bob's here, BOB SMITH", "Alex's here, Alex"),
        ("bobby and Robert stay", "bobby and Robert stay"),
        ("ask Smith", "ask Alex"),
        ("A good day, @A", "A good day, @Sam"),  # two letters say nothing alone
        ("Will you come, Will?", "Jamie you come, Jamie?"),
        ("will you?", "will you?"),
        ("小明你好", "Kim你好"),
        ("@Bob Smith @bob @Zoe @everyone", "@Alex @Alex @someone @everyone"),
        ("İlker geldi, ilker!", "Taylor geldi, Taylor!"),
        ("mail bob.smith+x@mail.example.org.", "mail [e-mail]."),
        ("see https://example.org/bob?q=1, ok", "see [link], ok"),
        ("(www.example.org/a) or example.com/x.", "([link]) or [link]."),
        ("wa.me/491711234567 t.me/bob shop.com.au, trust.me", "[link] [link] [link], trust.me"),
        ("end.Now it.is v1.2 e.g. a file.py", "end.Now it.is v1.2 e.g. a file.py"),
    ],
)
def test_names_addresses_and_links(text: str, wanted: str) -> None:
    people = ("Bob Smith", "Anna", "A", "Carla", "Will", "小明", "İlker")
    assert hidden(text, *people) == wanted


@pytest.mark.parametrize(
    "number",
    [
        *("+49 171 1234567", "+1-202-555-0143", "+447911123456", "+33 6 12 34 56 78"),
        *("415-555-2671", "(415) 555-2671", "415.555.2671", "4155552671", "1-415-555-2671"),
        *("0171 1234567", "0171/1234567", "020 7946 0958", "01 42 68 53 00", "01.42.68.53.00"),
        *("98765 43210", "612 345 678"),
    ],
)
def test_phone_numbers(number: str) -> None:
    assert hidden(f"call {number}, ok? ({number})") == "call [phone number], ok? ([phone number])"


@pytest.mark.parametrize(
    "text",
    [
        "on 2021-01-04 at 12:00, 12.05.2021, 01/02/2021, 01.02.2021 12, 1999-2003, 2024-05-06-07",
        "$1,299.99 or 1.000.000,00 EUR, 100.000.000, 10 000 000, 1500",
        "order 20210501 1234, id 123456789012, 1459254786, 555-1234, 1234567",
        "192.168.100.100 28919.8689279 0.1234567890 3.14159265358979 2001:0db8:85a3",
        "folio 02-3234-153-1160, 02-4204-001-0100",
        "hfaran@hfaranMBP ~/x 40.72, 74.00",
    ],
)
def test_dates_prices_and_numbers_stay(text: str) -> None:
    assert hidden(text, "Bob") == text


def test_people_with_several_names_have_one_stand_in_and_nobody_gets_a_real_name() -> None:
    hide = Anonymizer([["Alex Miller", "alexm"], ["robin"], ["+49 171 1234567"]])
    messages, replaced = hide([{"role": "user", "content": "alexm, Miller, Alex Miller; ROBIN"}])
    assert messages == [{"role": "user", "content": "Sam, Sam, Sam; Charlie"}]
    assert replaced == {"names replaced": 4}


def test_more_people_than_stand_ins() -> None:
    people = [[f"person{i}x"] for i in range(70)]
    hide = Anonymizer(people)
    text = " ".join(name for (name,) in people)
    given = hide([{"role": "user", "content": text}])[0][0]["content"]
    assert given.startswith("Alex Robin Sam")
    assert "Alex 2" in given
    assert "Alex 3" in given
    assert len(set(hide.stand_in.values())) == 70


def test_messages_that_came_in_stay_as_they_are() -> None:
    messages = [{"role": "user", "content": "hi Bob"}]
    anonymize(messages, ["Bob"])
    assert messages == [{"role": "user", "content": "hi Bob"}]

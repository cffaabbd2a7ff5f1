"""The reader of WhatsApp exports: a real slice where it is at hand, and awkward messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from exports import NOON, exported, said

from jojo.data.contract import Tally
from jojo.data.own import whatsapp

LRM = "\u200e"


IOS = f"""{LRM}[31.01.21, 09:00:00] Rome: Trip: {LRM}Messages and calls are end-to-end encrypted.
[31.01.21, 09:00:01] Anna: Hi
second line: with a colon

fourth
[31.01.21, 09:00:02] Bob: {LRM}image omitted
{LRM}[31.01.21, 09:00:03] Bob: {LRM}<attached: 00000012-PHOTO-2021-01-31.jpg>
[31.01.21, 09:00:04] ~\u202fKim: look {LRM}<attached: 00000013-PHOTO-2021-01-31.jpg>
[01.02.21, 09:00:05] Bob: fixed it {LRM}<This message was edited>
[01.02.21, 09:00:06] Bob: {LRM}This message was deleted.
[01.02.21, 09:00:07] Bob: {LRM}Missed voice call
[01.02.21, 09:00:08] Bob: report.pdf • {LRM}3 pages {LRM}document omitted
[01.02.21, 09:00:09] Anna: @\u2068Bob Smith\u2069 you <3 it?
[01.02.21, 09:00:10] Anna: {LRM}Anna changed the group name to “Rome: the trip”
"""
ANDROID = """12/31/20, 9:05\u202fPM - Messages and calls are end-to-end encrypted. Learn more.
12/31/20, 9:05\u202fPM - Bob changed the subject from "a: b" to "c"
12/31/20, 9:05\u202fPM - Bob: Work: Hi
12/31/20, 9:06\u202fPM - Bob: Work: what's up: you?
12/31/20, 9:06\u202fPM - Bob: Work: <Media omitted>
12/31/20, 12:07\u202fAM - Anna: IMG-20201231-WA0001.jpg (file attached)
nice view
12/31/20, 9:07\u202fPM - Anna: IMG-20201231-WA0002.jpg (Datei angehängt)
12/31/20, 9:08\u202fPM - Anna: I ran setup.py (again)
12/31/20, 9:08\u202fPM - Anna: null
12/31/20, 9:08\u202fPM - Anna: You deleted this message
12/31/20, 9:08\u202fPM - Anna: Diese Nachricht wurde gelöscht.
12/31/20, 9:09\u202fPM - Anna: done <This message was edited>
12/31/20, 9:09\u202fPM - Anna: location: https://maps.google.com/?q=1.0,2.0
12/31/20, 9:09\u202fPM - Anna: <Medien ausgeschlossen>
12/31/20, 9:09\u202fPM - Anna: <grin>
12/31/20, 9:09\u202fPM - Anna: Missed video call
12/31/20, 9:10\u202fPM - Anna left
12/31/20, 9:11\u202fPM - Bob: Work: bye
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_whatsapp_of_ios(newline: str) -> None:
    text, tally = IOS.replace("\n", newline), Tally()
    assert whatsapp.matches(text)
    lines = list(whatsapp.read(text, "chat.txt", tally))
    assert said(lines) == [
        ("Anna", "Hi\nsecond line: with a colon\n\nfourth"),
        ("Kim", "look"),
        ("Bob", "fixed it"),
        ("Anna", "@Bob Smith you <3 it?"),
    ]
    assert tally.skipped == {
        "a system notice": 3,
        "no text (an attachment)": 3,
        "a deleted message": 1,
    }
    assert [line.time - 1612083600 for line in lines] == [1, 4, 86405, 86409]
    assert lines[1].where == "chat.txt, line 8"


def test_whatsapp_of_android() -> None:
    tally = Tally()
    assert whatsapp.matches(ANDROID)
    lines = list(whatsapp.read(ANDROID, "chat.txt", tally))
    assert said(lines) == [
        ("Bob: Work", "Hi"),
        ("Bob: Work", "what's up: you?"),
        ("Anna", "nice view"),
        ("Anna", "I ran setup.py (again)"),
        ("Anna", "done"),
        ("Anna", "<grin>"),
        ("Bob: Work", "bye"),
    ]
    assert tally.skipped == {
        "a system notice": 4,
        "no text (an attachment)": 5,
        "a deleted message": 2,
    }
    assert lines[0].time - lines[2].time == 21 * 3600 - 2 * 60  # 9:05 PM and 12:07 AM


@pytest.mark.parametrize(
    ("head", "time"),
    [
        ("1/13/21, 12:00 - ", 12),
        ("13/1/21, 12:00 - ", 12),
        ("2021-01-13, 12:00 - ", 12),
        ("13.1.2021 klo 12.00 - ", 12),
        ("[13.1.2021 klo 12.00.00] ", 12),
        ("[2021/1/13 下午3:00:00] ", 15),
        ("13/01/2021 à 12:00 - ", 12),
        ("13/01/2021, 3:00 p. m. - ", 15),
        ("13-1-21 12:00 - ", 12),
        ("13/01/17, 12:00:00: ", 12),
        ("[13/01/2021, 3:00:00\u202fPM] ", 15),
        ("[1/13/21, 12:00:00 AM] ", 0),
        ("\ufeff13/01/2021, 12:00 - ", 12),
        (f"{LRM}[13/01/2021, 12:00:00] ", 12),
    ],
)
def test_the_dates_of_whatsapp(head: str, time: int) -> None:
    text = f"{head}Anna: hi\n"
    day = 1484265600 if "/17," in head else 1610496000
    assert whatsapp.matches(text)
    assert [line.time for line in whatsapp.read(text, "c", Tally())] == [day + time * 3600]


@pytest.mark.parametrize(
    ("dates", "day_first"),
    [
        (("1/2/21", "13/2/21"), True),
        (("1/2/21", "1/13/21"), False),
        (("10/1/21", "1/2/21"), True),  # else time would run back
        (("1/10/21", "2/1/21"), False),
        (("1.2.21", "1.2.21"), True),
        (("1/2/21", "1/2/21"), False),
    ],
)
def test_day_and_month_are_told_from_the_whole_file(dates, day_first: bool, capsys) -> None:
    text = "".join(f"{date}, 12:00 - A: x\n" for date in dates)
    first = next(iter(whatsapp.read(text, "chat.txt", Tally()))).time
    a, b, _ = (int(n) for n in dates[0].replace(".", "/").split("/"))
    day, month = (a, b) if day_first else (b, a)
    days_before = {1: 0, 2: 31, 10: 273}[month]
    assert first == NOON + (days_before + day - 1) * 86400
    noted = (
        "chat.txt: 1/2/21 may be day/month or month/day; read as month/day"
        in capsys.readouterr().err
    )
    assert noted == (dates == ("1/2/21", "1/2/21"))


def test_other_text_is_no_whatsapp_chat() -> None:
    for text in (
        "",
        "Hello: you",
        "2021-01-04 12:00:01 - INFO: started",
        "12. the list: x",
        "[1] a: b",
        "A note\n1/1/21, 12:00 - A: Hi",
        "1/1/21, 12:00 - nobody speaks",
        '{"a: b": 1}',
    ):
        assert not whatsapp.matches(text), text


def test_an_impossible_date_has_no_time() -> None:
    text = "13/13/21, 12:00 - A: x\n13/12/21, 25:00 - A: y\n"
    assert [line.time for line in whatsapp.read(text, "c", Tally())] == [None, None]


def test_the_real_whatsapp_chat(realdata: Path) -> None:
    found, tally = exported(realdata / "whatsapp")
    assert found == [["a: Hi", "u: Whats up?", "a: All good\nThis message should be reordered"]]
    assert tally.skipped == {"no text (an attachment)": 1}
    assert tally.records_in == 1

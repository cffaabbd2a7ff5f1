from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jojo.data.clean.detokenize import detokenize

MENDED = {
    "I don ’ t think so , Mr . Li .": "I don't think so, Mr. Li.",
    "That ’ s right.But it ‘ s late 。": "That's right. But it's late.",
    "I ’ Ve seen it and we ' ll go": "I've seen it and we'll go",
    "Let ' s meet at 10 o ’ clock , ma ’ am .": "Let's meet at 10 o'clock, ma'am.",
    "in my parents ’ house": "in my parents' house",
    "I watched ' Titanic ' Monday night .": "I watched 'Titanic' Monday night.",
    "the students ' union , Ms . O ’ Brian .": "the students' union, Ms. O'Brian.",
    "I know . ‘ cause I was there": "I know. 'cause I was there",
    "He said , “ hello ” to me .": 'He said, "hello" to me.',
    "say ” ah ” now": 'say "ah" now',
    "( After trying ) It fits": "(After trying) It fits",
    "waltz 、 rumba and tango": "waltz, rumba and tango",
    "你好，世界？": "你好, 世界?",
    "It is $ 5 or £ 3.50 , 50 % off": "It is $5 or £3.50, 50% off",
    "$ 16 . 50 or 3 , 000 yuan": "$16.50 or 3,000 yuan",
    "at 8: 30 p . m . on Monday": "at 8:30 p.m. on Monday",
    "until 10 p . m .": "until 10 p.m.",
    "the U . S . dollar": "the U.S. dollar",
    "a Ph . D . in the U . K . , e . g . math": "a Ph.D. in the U.K., e.g. math",
    "vitamin C . I like it": "vitamin C. I like it",
    "in L.A.Hank and I": "in L.A. Hank and I",
    "see.how are you ?": "see. how are you?",
    "Um ... how . . . can I .. put it": "Um... how... can I... put it",
    "Really ? ! No !": "Really?! No!",
    "Thank you very much .. Bye .": "Thank you very much. Bye.",
    "Mr . : Please sit .": "Please sit.",
    "J - A - N - G . Bye - bye !": "J-A-N-G. Bye-bye!",
    "a 24 - hour L / C and / or cash": "a 24-hour L/C and/or cash",
    "where l can go": "where I can go",
    "it won \\ ' t be": "it won't be",
    "C + + and 38 ° C": "C++ and 38°C",
    "www . zhilian . com is ours": "www.zhilian.com is ours",
    "a  b   c": "a b c",
}
UNTOUCHED = [
    "It costs 3.5 million, or 1,000 a day; pi is 3.14159.",
    "Meet me at 5:30, at 7 p.m. or at 12:00.",
    "Well... I don't know... maybe?",
    "... and then what?",
    "The U.S., Mr. Smith, Ph.D., e.g. J.K. Rowling, i.e. her, etc.",
    "Mail me at john.doe+chat@mail.example.co.uk, please.",
    "See https://example.com/a.html?q=1,2&r=x;y or www.example.com.",
    "Open notes.txt, report.pdf and main.py on docs.python.org.",
    "Node.js 2.0.1 and ASP.NET",
    "It's the boys' room, isn't it? Rock 'n' roll!",
    "I like it :) and you ;-) :D",
    'She said "hi" and left.',
    "I - well - don't know. A well-known 3-5% rise.",
]


@pytest.mark.parametrize(("raw", "mended"), MENDED.items())
def test_mends(raw: str, mended: str) -> None:
    assert detokenize(raw) == mended
    assert detokenize(mended) == mended


@pytest.mark.parametrize("text", UNTOUCHED)
def test_leaves_alone(text: str) -> None:
    assert detokenize(text) == text


FRAGMENTS = "don ’ t|It ' s|Mr .|U . S .|8: 30 p . m .|see.how|$ 5|50 %|3.5|...|..|,|.|?|!|;|:|"
FRAGMENTS += '"|(|)|-|/|。|I|a|the boys|www.x.com|Well|l can|  |“ Hi ”'


@settings(max_examples=500)
@example("Mr . : ; don ’ t")  # a label, then a loose mark
@given(st.lists(st.sampled_from(FRAGMENTS.split("|")), max_size=12).map(" ".join))
def test_mending_twice_is_mending_once(text: str) -> None:
    once = detokenize(text)
    assert detokenize(once) == once


@given(st.text(max_size=60))
def test_any_text_stays_on_one_line(text: str) -> None:
    mended = detokenize(text)
    assert mended == mended.strip()
    assert "\n" not in mended


def test_no_word_is_lost_or_moved_in_the_whole_corpus() -> None:
    root = os.environ.get("JOJO_REALDATA")
    if not root:
        pytest.skip("JOJO_REALDATA is not set")
    from jojo.data.contract import Tally
    from jojo.data.public.dailydialog import read

    dialogues = read(Path(root) / "dailydialog" / "test.zip", Tally())
    utterances = [u for dialogue in dialogues for u in dialogue.utterances]
    for raw in random.Random(7).sample(utterances, 2000):
        mended = detokenize(raw)
        assert detokenize(mended) == mended
        if " :" not in raw:  # a speaker's label may go
            assert letters(mended) == letters(raw)


def letters(text: str) -> str:
    return "".join(c for c in text.lower() if c.isalnum()).replace("l", "i")

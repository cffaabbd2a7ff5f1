from __future__ import annotations

import json
import random

import pytest

from jojo.data.inspect import wording
from jojo.data.inspect.quality import asks, clip, distinct, examine, language
from jojo.text.template import Conversation

TALK = ("the weather", "my new bike", "that film", "the game", "dinner", "our trip", "her party")
DOES = ("started", "fell over", "got lost", "made me laugh", "went wrong", "came back", "was fun")
SAYS = (
    "Oh no, that's awful!",
    "Wow, I didn't know!",
    "Hmm, aren't you glad?",
    "Haha, you're funny.",
)


def chat(*turns: str, split: str = "train", first: str = "user") -> Conversation:
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    messages = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return Conversation(messages, split)


def casual(n: int, seed: int = 0) -> list[Conversation]:
    """Casual chats of two exchanges with nothing wrong with them, each of its own words."""
    draw = random.Random(seed)

    def line() -> str:
        noise = " ".join(
            f"{draw.choice('bcdfg')}{draw.choice('aeiou')}{draw.randrange(10**4)}" for _ in range(9)
        )
        return (
            f"So {draw.choice(TALK)} {draw.choice(DOES)} with {noise} and I don't know what to do"
        )

    return [
        chat(line() + ".", draw.choice(SAYS) + " " + line() + "?", line(), "Yeah, " + line() + "!")
        for _ in range(n)
    ]


def warnings(quality) -> set[str]:
    return {w.name for w in quality.warnings}


@pytest.fixture(scope="module")
def clean():
    return examine(casual(600), "chatml")


def test_clean_talk_has_no_warning(clean) -> None:
    assert warnings(clean) == set()
    assert [g.name for g in clean.good] == ["casual talk", "multi-turn flow"]
    assert clean.verdict == "good chat data: casual talk, multi-turn flow"
    assert clean.looked_at == clean.total == 600
    assert clean.figures["turns"] == {"mean": 4.0, "median": 4.0, "most": 4}
    assert clean.figures["ends_replied"] == 1
    assert clean.figures["languages"] == {"en": 1.0}
    assert clean.figures["replies_that_ask"] == 0.5


WIKI = (
    "{0} (born in 1{1}) was a mathematician whose contributions to the foundation of geometry were "
    "published in 19{2} and are considered an important development in the discipline."
)
FORMAL = (
    "The implementation of regulation {0} requires a careful consideration of the environment, and "
    "the assessment of compliance is conducted by authority {1} with the distribution of {2}."
)
CODE = "Use this:\n```python\ndef f{0}(x{1}):\n    return x{1} + {2}\n```"
# What is put in place of every k-th chat, and the warnings that must come of it.
WRONG = {
    "raw encyclopedia": (4, lambda a, b, c: chat(f"Who was {a}?", WIKI.format(f"Ada {a}", b, c))),
    "formal documents": (3, lambda a, b, c: chat(f"What of {a}?", FORMAL.format(a, b, c))),
    "code": (5, lambda a, b, c: chat(f"Add {c} in f{a}, please", CODE.format(a, b, c))),
    "one-sided": (100, lambda a, b, c: chat(f"Is anybody there in {a} {b} {c}?")),
    "no reply": (30, lambda a, b, c: chat(f"Hi {a}!", "Oh, hi!", f"Where is {b} {c} now?")),
    "too long": (
        8,
        lambda a, b, c: chat("Go on", " ".join(f"I'm w{a}x{b}y{i}." for i in range(400))),
    ),
    "mixed languages": (
        40,
        lambda a, b, c: chat(
            f"Guten Morgen, wie geht es dir heute, {a}?",
            f"Danke, mir geht es sehr gut, ich habe {b} und {c} gesehen.",
        ),
    ),
    "personal data": (
        300,
        lambda a, b, c: chat(f"Mail me at bob{a}@example.org or not {b}", f"Sure, I'll do it {c}!"),
    ),
    "toxic words": (150, lambda a, b, c: chat(f"Where's {a} {b}?", f"Oh shit, it's in {c}!")),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_warning_fires_on_what_is_made_for_it(name: str) -> None:
    every, make = WRONG[name]
    chats, draw = casual(600), random.Random(1)
    for i in range(0, 600, every):
        chats[i] = make(*(f"q{draw.randrange(10**6)}", draw.randrange(10, 99), draw.randrange(99)))
    quality = examine(chats, "chatml")
    found = {w.name: w for w in quality.warnings}
    extra = {"formal documents"} if name == "raw encyclopedia" else set()
    assert {name} <= set(found) <= {name} | extra
    assert len(found[name].examples) == min(3, 600 // every)
    assert found[name].examples[0].startswith("train 0: ")
    assert name in quality.verdict


def test_copies_and_leaks() -> None:
    chats = casual(600)
    chats[10] = Conversation(chats[3].messages, "val")  # a leak
    for i in range(100, 140):  # a word changed in each
        copy = [dict(m) for m in chats[i + 100].messages]
        copy[0]["content"] += " now"
        chats[i] = Conversation(copy, "train")
    quality = examine(chats, "chatml")
    assert warnings(quality) == {"leakage", "near duplicates"}
    shares = quality.figures["shares"]
    assert shares["near duplicates"] == round(40 / 600, 5)
    assert shares["exact duplicates"] == round(1 / 600, 5)
    assert shares["leak"] == 1  # of the one in val
    leak = next(w for w in quality.warnings if w.name == "leakage")
    assert leak.examples[0].startswith("val 10: «So ")
    assert leak.examples[0].endswith(" is like train 3")


def test_few_and_repetitive() -> None:
    quality = examine([chat(f"Say {i}", "OK.") for i in range(40)], "chatml")
    assert {"tiny", "repetitive"} <= warnings(quality)
    repetitive = next(w for w in quality.warnings if w.name == "repetitive")
    assert "the ten most frequent replies are 100% of all" in repetitive.text
    assert repetitive.examples == ("100% «OK.»",)


def test_a_sample_tells_of_how_many(clean) -> None:
    sample = examine(casual(100), "chatml", total=90_000)
    assert "tiny" not in warnings(sample)
    assert "(100 of 90,000 conversations" in sample.summary()[0]
    copied = examine([*casual(100), casual(1)[0]], "chatml", total=90_000)
    found = next(w for w in copied.warnings if w.name == "duplicates")
    assert found.text == "at least 1% occur more than once"
    assert clean.summary() == [
        "quality: good chat data: casual talk, multi-turn flow (600 conversations)"
    ]


def test_other_good_signs() -> None:
    asked = examine([chat(f"What is {i} plus {i}?", f"It's {2 * i}.") for i in range(50)], "chatml")
    assert "Q&A pairs" in [g.name for g in asked.good]
    persona = casual(100)
    for c in persona[:20]:
        c.messages.insert(0, {"role": "system", "content": "You are Tsuki."})
    assert "role-play" in [g.name for g in examine(persona, "chatml").good]
    help_ = [chat(f"App {i} keeps crashing!", "Oh no, let's try a few things.") for i in range(30)]
    assert "support chat" in [g.name for g in examine(help_, "chatml").good]


def test_documents_have_no_turns() -> None:
    stories = [
        Conversation([{"role": "assistant", "content": c.messages[0]["content"] + ". He was sad."}])
        for c in casual(600)
    ]
    quality = examine(stories, "text")
    assert quality.verdict.startswith("plain documents")
    assert warnings(quality) == set()
    assert "turns" not in quality.figures
    assert "frequent replies" not in quality.report()
    assert "600 documents, template text" in quality.report()


def test_line_templates_and_nothing_at_all() -> None:
    assert examine(casual(20), "person").figures["turns"]["mean"] == 4
    assert examine([], "chatml").verdict.endswith("warnings: tiny, repetitive")


def test_facts_are_plain_json(clean) -> None:
    facts = json.loads(json.dumps(clean.facts()))
    assert facts["verdict"] == clean.verdict
    assert facts["figures"]["shares"]["several exchanges"] == 1


def test_a_manifest_has_no_words_of_the_conversations() -> None:
    quality = examine([chat(f"Say {i}", "My secret.") for i in range(40)], "chatml")
    assert "secret" in str(quality.facts())
    assert "secret" not in str(quality.brief())


def test_examples_are_as_many_as_asked_for() -> None:
    chats = [chat(f"Where's {i}?", f"Oh shit, number {i}!") for i in range(20)]
    quality = examine(chats, "chatml", examples=5)
    assert len(next(w for w in quality.warnings if w.name == "toxic words").examples) == 5


def test_personal_data() -> None:
    text = (
        "Call +49 171 2345678, mail a.b@example.co.uk, see https://x.example/1?a=2, "
        "pay with 4111 1111 1111 1111, not 4111 1111 1111 1112; server 192.168.0.1, not 999.1.1.1, "
        "in 2024, version 1.2.3.4000, pi is 3.14159265."
    )
    found = wording.personal_data(text)
    assert found["e-mail"] == ["a.b@example.co.uk"]
    assert found["link"] == ["https://x.example/1?a=2"]
    assert found["card number"] == ["4111 1111 1111 1111"]
    assert found["IP address"] == ["192.168.0.1"]
    assert found["phone number"] == ["+49 171 2345678"]
    assert wording.personal_data("I was born in 1984 at 5:30.") == {}


def test_toxic_words_are_whole_words() -> None:
    assert wording.toxic_words("Scunthorpe, Dick and the classic cockatoo") == []
    assert wording.toxic_words("What the FUCK? Shit.") == ["fuck", "shit"]


def test_counts_of_one_text() -> None:
    found = wording.wording(
        "Oh, I'm gonna go :) However, the situation was considered an achievement."
    )
    assert (found.words, found.sentences) == (11, 1)
    assert found.casual == 4  # oh, I'm, gonna, :)
    assert found.personal == 1
    assert found.formal == 4  # however, situation, was considered, achievement
    assert found.code == 0
    assert wording.wording("import os\nprint(os.name)").code > 0.9
    assert wording.wording("I (and you) left; we're home = fine.\nReally.").code == 0


def test_languages_and_questions() -> None:
    assert language("Well, what would you like to do this evening?") == "en"
    assert language("Und was möchtest du heute Abend gerne machen?") == "de"
    assert language("ok") is None
    assert asks("Name three fruits.")
    assert not asks("I like fruit.")


def test_distinct_and_clip() -> None:
    assert distinct(["a b a b", "c"]) == [0.6, 0.75]
    assert clip("a\nb " * 100, 10) == "«a b a b a…»"

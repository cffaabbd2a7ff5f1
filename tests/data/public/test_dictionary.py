"""data/prepare-dictionary.py: which words, what is asked about them, and kills at any moment."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from local_server import MISBEHAVIOURS, LocalServer, Runs, output

from jojo.data.bins import open_dataset
from jojo.data.contract import Tally
from jojo.data.public import dictionary, wordnet
from jojo.data.public.dictionary import Sense
from jojo.text.template import decode

RECIPE = "prepare-dictionary.py"
MOST, WINDOW = 12, 0.3  # the server's limit, scaled down
NOT_FOUND = {"title": "No Definitions Found"}


def word_of(path, body):
    return path.rpartition("/")[2]


def entry(word):
    """An answer in the API's shape. Every seventh word is unknown."""
    if int(word[4:], 36) % 7 == 0:
        return 404, NOT_FOUND
    meaning = {
        "partOfSpeech": "noun",
        "definitions": [{"definition": f"A thing called {word}.", "example": f"I saw a {word}."}],
    }
    return 200, [{"word": word, "phonetics": [], "meanings": [meaning]}]


@pytest.fixture
def server():
    with LocalServer(entry, word_of) as running:
        running.most, running.window_seconds = MOST, WINDOW
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    started = Runs(tmp_path_factory.mktemp("runs") / "stderr", most=MOST, window_seconds=WINDOW)
    yield started
    started.close()


@pytest.fixture
def word_list(tmp_path):
    """26 made-up words; CRLF, and no line break after the last."""
    path = tmp_path / "words.txt"
    path.write_bytes("\r\n".join(f"word{chr(97 + i)}" for i in range(26)).encode())
    return path


def flags(server, word_list, out_dir):
    given = {"input": word_list, "out_dir": out_dir, "api_url": server.url, "sleep": 0}
    return [*(f"--{name}={value}" for name, value in given.items()), "--no_common"]


def pairs_of(out_dir, name="dictionary"):
    dataset = open_dataset(name, out_dir)
    return {
        split: [tuple(m["content"] for m in decode(ids)) for ids in dataset.conversations(split)]
        for split in ("train", "val")
    }


def test_a_run_asks_each_word_once_and_never_again(server, runs, word_list, tmp_path):
    out_dir = tmp_path / "out"
    assert runs.run(RECIPE, *flags(server, word_list, out_dir)) == 0
    assert server.asked == {f"word{chr(97 + i)}": 1 for i in range(26)}
    assert server.excess == 0
    manifest = output(out_dir, "dictionary")["manifest"]
    assert manifest["dropped"] == {"not in the dictionary": 4}  # worde, wordl, words, wordz
    assert manifest["records_in"] == 4 + 22 * 3  # meaning, definition, sentence
    first = output(out_dir, "dictionary")
    again = [*flags(server, word_list, out_dir), "--reset", "--max_words=10", "--val_fraction=0.3"]
    assert runs.run(RECIPE, *again, "--verbose") == 0
    assert runs.run(RECIPE, *flags(server, word_list, out_dir)) == 0
    assert output(out_dir, "dictionary") == first
    assert sum(server.asked.values()) == 26


def test_validation_is_on_other_words(server, runs, word_list, tmp_path):
    options = [*flags(server, word_list, tmp_path), "--val_fraction=0.3"]
    assert runs.run(RECIPE, *options) == 0
    words = {
        split: {re.search(r"word[a-z]", question)[0] for question, _ in pairs}
        for split, pairs in pairs_of(tmp_path).items()
    }
    assert len(words["train"]) > 10
    assert len(words["val"]) > 2
    assert not words["train"] & words["val"]


@pytest.mark.slow
def test_killed_ten_times_the_output_is_the_same(server, runs, word_list, tmp_path):
    """The server kills its client (SIGKILL) before it answers, amid the answer's body, or some time
    after the next request came in, which the client only sends when the answer before is on disk.

    One moment is left out on purpose: between the server's last byte and the client's sync of it
    (well under a millisecond) a kill does lose the answer, which no client can avoid; the word is
    asked once more then. Kills at any moment whatever are in the test below.
    """
    assert runs.run(RECIPE, *flags(server, word_list, tmp_path / "whole")) == 0
    server.asked.clear()
    server.answered.clear()
    time.sleep(WINDOW)
    server.misbehave = lambda word: MISBEHAVIOURS[ord(word[4]) % len(MISBEHAVIOURS)]
    server.kill_ten_times(runs.kill, seed=4)
    codes = []
    while not codes or codes[-1] == -signal.SIGKILL:
        codes.append(runs.run(RECIPE, *flags(server, word_list, tmp_path / "killed")))
    assert codes == [-signal.SIGKILL] * 10 + [0]
    assert output(tmp_path / "killed", "dictionary") == output(tmp_path / "whole", "dictionary")
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == 26
    assert server.excess == 0


@pytest.mark.slow
def test_killed_at_any_moment_the_output_is_the_same(server, runs, word_list, tmp_path):
    """Kills by the clock. A word may be asked twice where one falls into the moment told above."""
    assert runs.run(RECIPE, *flags(server, word_list, tmp_path / "whole")) == 0
    server.answered.clear()
    rng = random.Random(time.time())
    time.sleep(WINDOW)
    kills = 0
    while kills < 10:
        kills += 1
        runs.start(RECIPE, *flags(server, word_list, tmp_path / "killed"))
        time.sleep(rng.uniform(0, 0.35))
        runs.kill()
        if runs.wait() == 0:
            break
    assert runs.run(RECIPE, *flags(server, word_list, tmp_path / "killed")) == 0
    assert output(tmp_path / "killed", "dictionary") == output(tmp_path / "whole", "dictionary")
    assert sum(server.answered.values()) <= 26 + kills
    assert server.excess == 0


@pytest.mark.parametrize("few", ["--limit=4", "--max_words=1", "--max_words=2"])
def test_a_few_pairs_fill_both_splits(server, runs, word_list, tmp_path, few):
    assert runs.run(RECIPE, *flags(server, word_list, tmp_path), few) == 0
    assert all(pairs_of(tmp_path).values())


def test_ctrl_c_stops_at_once_and_says_how_to_go_on(server, runs, word_list, tmp_path):
    over = threading.Event()
    server.answer = lambda word: (over.wait(60) if word == "wordd" else 0, entry(word))[1]
    runs.start(RECIPE, *flags(server, word_list, tmp_path))
    while not server.asked["wordd"]:
        time.sleep(0.01)
    runs.kill(signal.SIGINT)
    assert runs.wait() == 130
    assert not server.answered["wordd"]  # it did not wait for that
    over.set()
    assert f"{len(server.answered)} of 26 words are answered and saved" in runs.last
    assert "run it again to go on" in runs.last
    assert "Traceback" not in runs.last


def test_a_second_run_beside_it_is_one_line(server, runs, word_list, tmp_path):
    from jojo.web.journal import Journal

    with Journal(tmp_path / "raw" / "dictionary" / "answers.sqlite"):
        assert runs.run(RECIPE, *flags(server, word_list, tmp_path)) == 1
    assert runs.last.startswith("error: another run is writing ")
    assert runs.last.count("\n") == 1


def test_wrong_lengths_and_an_empty_choice_are_one_line(server, runs, word_list, tmp_path):
    lengths = ["--min_word_length=9", "--max_word_length=3"]
    assert runs.run(RECIPE, *flags(server, word_list, tmp_path), *lengths) == 2
    assert "no word has --min_word_length 9 to --max_word_length 3 letters" in runs.last
    assert runs.run(RECIPE, *flags(server, word_list, tmp_path), "--min_word_length=9") == 1
    assert "no word of the list is left" in runs.last
    assert not server.asked


def test_common_words_are_chosen_and_more_words_only_add():
    words = "cumbersome aardwolves serendipitous walked london that emotions emotion ab x-ray\r"
    tally = Tally()
    chosen = dictionary.choose(words.split(" "), (4, 12), True, 1000, 1337, tally)
    assert sorted(chosen) == ["cumbersome", "emotion"]
    assert tally.skipped == {
        "words of the list with characters other than letters": 1,
        "words of the list not of 4 to 12 letters": 2,
        "words of the list that are rare, names, or forms of another": 5,
    }
    some = [dictionary.choose(words.split(" "), (1, 20), False, n, 1, Tally()) for n in (3, 6)]
    assert some[1][:3] == some[0]


def test_the_real_word_list_gives_words_worth_asking_about(realdata):
    lines = (realdata / "wordlist" / "words_alpha.txt").read_bytes().decode().split("\r\n")
    chosen = dictionary.choose(lines, (4, 12), True, 20_000, 1337, Tally())
    assert 9_000 < len(chosen) < 12_000
    assert not {"aardwolves", "with", "john", "walked", "emotions"} & set(chosen)
    assert {"cumbersome", "ambiguous", "resilience", "generous"} <= set(chosen)


def test_entries_of_the_real_api(realdata):
    def told(name, word):
        answer = json.loads((realdata / "freedictionary" / f"{name}.json").read_text())
        return [a for _, a in dictionary.pairs(word, dictionary.senses_of(answer), 1)]

    assert told("cumbersome", "cumbersome") == [
        '"Cumbersome" is an adjective. It means burdensome or hindering, as a weight or drag; '
        "vexatious. It can also mean not easily managed or handled; awkward; clumsy.",
        "Cumbersome (adjective): burdensome or hindering, as a weight or drag; vexatious.",
        "Cumbersome machines can endanger operators and slow down production.",
        'Other words for "cumbersome" are "cumbrous" and "unwieldy".',
    ]
    old = told("hello.2021", "hello")  # another shape: no license, no antonyms, no phonetic
    assert old[0].startswith(
        '"Hello" can be an exclamation, a noun or an intransitive verb. As an exclamation, it is '
        "used as a greeting or to begin a phone conversation. As a noun, it means an utterance"
    )
    assert 'The opposite of "hello" is "bye" or "goodbye".' in told("hello", "hello")
    body = json.loads((realdata / "freedictionary" / "404_body.json").read_text())
    with pytest.raises(ValueError, match="not a list"):
        dictionary.entries(body)


def test_answers_are_well_formed():
    senses = [
        Sense(
            "verb", "(sports) run fast.", ["the boy sprinted home", "sprint"], ["dash"], ["walk"]
        ),
        Sense("verb", "(archaic) to spring"),
        Sense("noun", "used of a quick run", ["a short sprint"]),
        Sense("noun", "an offensive term for a runner"),
    ]
    by_question = dict(dictionary.pairs("sprint", senses, 5))
    assert list(by_question.values()) == [
        '"Sprint" can be a verb or a noun. As a verb, it means to run fast. As a noun, it is used '
        "of a quick run.",
        "Sprint (verb): to run fast.",
        "The boy sprinted home.",
        'For example: "a short sprint".',
        'Another word for "sprint" is "dash".',
        'The opposite of "sprint" is "walk".',
    ]
    assert all("sprint" in question for question in by_question)
    assert by_question != dict(dictionary.pairs("sprint", senses, 6))
    assert dictionary.pairs("sprint", [Sense("noun", "()")], 5) == []


def test_swear_words_are_neither_told_nor_suggested():
    fool = Sense("noun", "a foolish person", synonyms=["dickhead", "Bastard", "fool"])
    assert dictionary.pairs("asshole", [fool], 5) == []
    assert (
        'Another word for "idiot" is "fool".' in dict(dictionary.pairs("idiot", [fool], 5)).values()
    )


def test_obsolete_meanings_give_way():
    old, now = Sense("noun", "obsolete terms for insanity"), Sense("noun", "great folly")
    assert "insanity" not in str(dictionary.pairs("madness", [old, now], 5))
    assert "insanity" in str(dictionary.pairs("madness", [old], 5))


WORDNET = {  # a few real lines of WordNet 3.0, their frequencies shortened
    "data.noun": [
        "04965179 07 n 01 lightness 0 001 ! 04966339 n 0101 | having a light color  ",
        '04966339 07 n 01 darkness 1 001 ! 04965179 n 0101 | having a dark or somber color; "the '
        'darkness of her skin"  ',
    ],
    "data.verb": [
        "02228031 40 v 02 abandon 0 give_up 0 000 01 + 08 00 | give up with the intent of never "
        'claiming again; "Abandon your life to God"; "She abandoned `all\' of it"  ',
    ],
    "data.adj": [
        "00014490 00 a 01 abundant(p) 0 001 ! 00016247 a 0101 | present in great quantity  ",
        "00016247 00 s 01 scarce 0 001 ! 00014490 a 0101 | deficient in quantity  ",
    ],
    "data.adv": [],
    "index.noun": ["lightness n 1 1 ! 1 0 04965179  ", "darkness n 1 1 ! 1 0 04966339  "],
    "index.verb": ["abandon v 1 0 1 1 02228031  "],
    "index.adj": ["abundant a 1 1 ! 1 0 00014490  ", "scarce a 1 1 ! 1 0 00016247  "],
    "index.adv": [],
    "index.sense": ["abandon%2:40:00:: 02228031 1 10"],
}


@pytest.fixture
def wordnet_folder(tmp_path):
    folder = tmp_path / "wordnet"
    folder.mkdir()
    for name, lines in WORDNET.items():
        text = "".join(f"{line}\n" for line in ["  1 This is the licence", *lines])
        (folder / name).write_text(text)
    return folder


def test_wordnet_is_read(wordnet_folder):
    net = wordnet.WordNet(wordnet_folder)
    assert net.look_up("abandon") == [
        Sense(
            "verb",
            "give up with the intent of never claiming again",
            ["Abandon your life to God", "She abandoned 'all' of it"],
            ["give up"],
        )
    ]
    assert net.look_up("scarce") == [
        Sense("adjective", "deficient in quantity", antonyms=["abundant"])
    ]
    assert net.look_up("nothing") == []
    assert sorted(net.words()) == ["abandon", "abundant", "darkness", "lightness", "scarce"]


def test_offline_needs_no_word_list_and_no_server(runs, wordnet_folder, tmp_path):
    offline = ["--source=offline", f"--wordnet={wordnet_folder}", f"--out_dir={tmp_path}"]
    assert runs.run(RECIPE, *offline) == 0
    told = [answer for pairs in pairs_of(tmp_path).values() for _, answer in pairs]
    assert "Scarce (adjective): deficient in quantity." in told


def test_wordnet_that_is_not_there_is_one_line(runs, tmp_path, monkeypatch, complaint):
    missing = ["--source=offline", f"--wordnet={tmp_path}", f"--out_dir={tmp_path / 'out'}"]
    assert runs.run(RECIPE, *missing) == 1
    assert "index.sense" in runs.last or "no data.noun" in runs.last
    monkeypatch.setattr(wordnet, "distribution", _not_found)
    monkeypatch.setattr(wordnet, "SYSTEM", Path(os.devnull))
    assert wordnet.INSTALL in complaint(wordnet.installed)


def _not_found(name):
    from importlib.metadata import PackageNotFoundError

    raise PackageNotFoundError(name)

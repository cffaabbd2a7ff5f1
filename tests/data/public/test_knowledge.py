"""data/prepare-knowledge.py: SQuAD's answers as sentences, a model's answers, and kills."""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections import Counter

import pytest
from local_server import MISBEHAVIOURS, LocalServer, Runs, output

from jojo.data.bins import open_dataset
from jojo.data.contract import Tally
from jojo.data.formats.records import Unusable
from jojo.data.public import llm, squad
from jojo.text.template import decode
from jojo.web.journal import Journal

RECIPE = "prepare-knowledge.py"
QUESTION = re.compile(r"Question: (.+)")


def question_of(path, body):
    return QUESTION.search(body["messages"][-1]["content"])[1]


def chat(text, finish="stop"):
    message = {"role": "assistant", "content": text}
    return {"object": "chat.completion", "choices": [{"message": message, "finish_reason": finish}]}


def answer(question):
    """What the model says: the last word of the question, as a sentence."""
    return 200, chat(f"It is {question.split()[-1].strip('?')}.")


@pytest.fixture
def server():
    with LocalServer(answer, question_of) as running:
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    started = Runs(tmp_path_factory.mktemp("runs") / "stderr")
    yield started
    started.close()


def qa(question, answer, context):
    answers = [{"text": answer, "answer_start": context.index(answer)}] if answer else []
    return {"id": "x", "question": question, "answers": answers, "is_impossible": not answer}


@pytest.fixture
def articles(tmp_path):
    """Eight articles of four questions; two are the same question, two have no answer."""
    data = []
    for i in range(8):
        context = f"The town T{i} was founded by Anna B{i} in 19{i}0."
        asked = [
            qa(f"Who founded the town T{i}?", f"Anna B{i}", context),
            qa(f"When was T{i} founded?", f"19{i}0", context),
            qa("Which town is it about", f"T{i}", context),
            qa(f"What is the colour of T{i}?", None if i < 2 else "town", context),
        ]
        data.append({"title": f"Town_{i}", "paragraphs": [{"context": context, "qas": asked}]})
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"version": "v2.0", "data": data}))
    return path


def asking(server, articles, out_dir, *more):
    given = {"input": articles, "out_dir": out_dir, "llm_api_url": server.url, "retry_delay": 0.01}
    return [*(f"--{name}={value}" for name, value in given.items()), "--model=tiny", *more]


def pairs_of(out_dir, name="knowledge"):
    dataset = open_dataset(name, out_dir)
    return {
        split: [tuple(m["content"] for m in decode(ids)) for ids in dataset.conversations(split)]
        for split in ("train", "val")
    }


def all_pairs(out_dir):
    return dict(pair for pairs in pairs_of(out_dir).values() for pair in pairs)


def test_append_to_what_holds_nothing_out(runs, articles, tmp_path):
    """What stands in val a second time is not held out afterwards."""
    out_dir = tmp_path / "out"
    options = ["--use_squad_answers", f"--input={articles}", f"--out_dir={out_dir}"]
    assert runs.run(RECIPE, *options, "--max_questions=9", "--val_fraction=0") == 0
    before = set(pairs_of(out_dir)["train"])
    assert set(pairs_of(out_dir)["val"]) == before
    assert runs.run(RECIPE, *options, "--max_questions=9", "--append", "--val_fraction=0.3") == 0
    after = pairs_of(out_dir)
    assert before <= set(after["train"])
    assert not set(after["train"]) & set(after["val"])


def test_squad_answers_become_sentences(runs, articles, tmp_path):
    out_dir = tmp_path / "out"
    options = ["--use_squad_answers", f"--input={articles}", f"--out_dir={out_dir}"]
    assert runs.run(RECIPE, *options) == 0
    pairs = all_pairs(out_dir)
    assert pairs["Who founded the town T3?"] == "Anna B3 founded the town T3."
    assert pairs["When was T3 founded?"] == "In 1930."
    assert pairs["Which town is it about?"] == "T0."
    manifest = output(out_dir, "knowledge")["manifest"]
    assert manifest["records_in"] == 32
    assert manifest["dropped"] == {"the same question again": 7, "no answer in the paragraph": 2}
    assert manifest["notes"]["changed"] == {"answer made into a sentence": 14}
    assert not (out_dir / "raw").exists()


def test_validation_is_on_other_articles(runs, articles, tmp_path):
    options = ["--use_squad_answers", f"--input={articles}", f"--out_dir={tmp_path}"]
    assert runs.run(RECIPE, *options, "--val_fraction=0.4") == 0
    towns = {
        split: {t for q, _ in pairs for t in re.findall(r"T\d", q)}
        for split, pairs in pairs_of(tmp_path).items()
    }
    assert len(towns["train"] | towns["val"]) == 8
    assert towns["val"]
    assert not towns["train"] & towns["val"]


def test_max_questions_takes_of_all_articles(runs, articles, tmp_path):
    options = ["--use_squad_answers", f"--input={articles}", f"--out_dir={tmp_path}"]
    assert runs.run(RECIPE, *options, "--max_questions=8") == 0
    assert set(all_pairs(tmp_path)) == {f"Who founded the town T{i}?" for i in range(8)}


def test_a_model_answers_from_the_passage(server, runs, articles, tmp_path):
    key = {"OPENAI_API_KEY": "sk-secret"}
    options = asking(server, articles, tmp_path, "--temperature=0.5", "--verbose")
    assert runs.run(RECIPE, *options, **key) == 0
    assert all_pairs(tmp_path)["When was T3 founded?"] == "It is founded."
    assert set(server.asked.values()) == {1}
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["stream"]) == ("tiny", 0.5, False)
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"].startswith("Passage: The town T0 was founded by Anna B0")
    assert server.heads[0]["Authorization"] == "Bearer sk-secret"
    assert not list((tmp_path / "raw").iterdir())  # the checkpoint and its lock are gone
    written = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()] + [runs.last.encode()]
    assert not any(b"sk-secret" in content for content in written)


def test_a_model_rewords_and_must_not_lose_the_answer(server, runs, articles, tmp_path):
    server.answer = lambda q: (200, chat("In 1930 it was" if "T3" in q else "I was away"))
    assert runs.run(RECIPE, *asking(server, articles, tmp_path, "--use_squad_answers")) == 1
    assert "no conversation is left for the" in runs.last
    server.answer = lambda q: (200, chat("Somebody was Anna B" + "".join(re.findall(r"T(\d)", q))))
    options = asking(server, articles, tmp_path, "--use_squad_answers", "--reset")
    assert runs.run(RECIPE, *options) == 0
    assert all_pairs(tmp_path)["Who founded the town T3?"] == "Somebody was Anna B3."
    dropped = output(tmp_path, "knowledge")["manifest"]["dropped"]
    assert dropped["the model's sentence lost the answer"] == 8 + 6 + 1
    assert "Answer: Anna B0" in server.bodies[0]["messages"][1]["content"]


def test_answers_that_are_none_are_dropped_by_reason(server, runs, articles, tmp_path):
    replies = {
        "Who founded the town T1?": chat("A very long", finish="length"),
        "Who founded the town T2?": chat(None),
        "Who founded the town T3?": chat("I'm sorry, but I cannot answer that."),
        "Who founded the town T4?": chat("<think>Hm.\nAnna?</think>\n\nAnna B4 did"),
    }
    server.answer = lambda q: (200, replies[q]) if q in replies else answer(q)
    assert runs.run(RECIPE, *asking(server, articles, tmp_path)) == 0
    dropped = output(tmp_path, "knowledge")["manifest"]["dropped"]
    for reason in ("answer was cut off by the length limit", "answer is empty", "refused"):
        assert (
            dropped[f"the model {reason}" if reason == "refused" else f"the model's {reason}"] == 1
        )
    assert all_pairs(tmp_path)["Who founded the town T4?"] == "Anna B4 did."


def test_concurrency_changes_nothing_but_the_time(server, runs, articles, tmp_path):
    rng = random.Random(1)
    server.answer = lambda q: (time.sleep(rng.uniform(0, 0.02)), answer(q))[1]
    assert runs.run(RECIPE, *asking(server, articles, tmp_path / "one")) == 0
    several = asking(server, articles, tmp_path / "six", "--concurrency=6")
    assert runs.run(RECIPE, *several) == 0
    assert output(tmp_path / "one", "knowledge") == output(tmp_path / "six", "knowledge")


@pytest.mark.slow
def test_killed_ten_times_the_output_is_the_same(server, runs, articles, tmp_path):
    """As of the dictionary: the server kills (SIGKILL) before it answers, amid an answer, or some
    time after the next request; the time between its last byte and our sync is left out."""
    assert runs.run(RECIPE, *asking(server, articles, tmp_path / "whole")) == 0
    server.asked.clear()
    server.answered.clear()
    server.misbehave = lambda q: MISBEHAVIOURS[sum(q.encode()) % len(MISBEHAVIOURS)]
    server.kill_ten_times(runs.kill, seed=8)
    codes = []
    while not codes or codes[-1] == -signal.SIGKILL:
        codes.append(runs.run(RECIPE, *asking(server, articles, tmp_path / "killed")))
    assert codes == [-signal.SIGKILL] * 10 + [0]
    assert output(tmp_path / "killed", "knowledge") == output(tmp_path / "whole", "knowledge")
    assert len(server.answered) == 23
    assert set(server.answered.values()) == {1}
    assert not list((tmp_path / "killed" / "raw").iterdir())


@pytest.mark.slow
def test_killed_at_any_moment_with_threads_the_output_is_the_same(server, runs, articles, tmp_path):
    """By the clock, four questions at once: each kill may cost as many answers as are under way."""
    assert runs.run(RECIPE, *asking(server, articles, tmp_path / "whole")) == 0
    server.answered.clear()
    server.answer = lambda q: (time.sleep(0.02), answer(q))[1]
    rng = random.Random(time.time())
    threads = [*asking(server, articles, tmp_path / "killed"), "--concurrency=4"]
    kills = 0
    while kills < 10:
        kills += 1
        runs.start(RECIPE, *threads)
        time.sleep(rng.uniform(0, 0.3))
        runs.kill()
        if runs.wait() == 0:
            break
    assert runs.run(RECIPE, *threads) == 0
    assert output(tmp_path / "killed", "knowledge") == output(tmp_path / "whole", "knowledge")
    again = Counter(server.answered)
    assert sum(again.values()) <= 23 * 2 + 4 * kills  # a run that was done asks everything anew


def test_other_settings_than_before_the_kill_are_one_line(server, runs, articles, tmp_path):
    server.kill = runs.kill
    server.kills.append((5, "before", 0.0))
    assert runs.run(RECIPE, *asking(server, articles, tmp_path)) == -signal.SIGKILL
    assert runs.run(RECIPE, *asking(server, articles, tmp_path, "--temperature=1.5")) == 1
    assert "temperature was 0.3 and is 1.5" in runs.last
    assert "--reset to start over" in runs.last
    assert len(server.answered) == 4
    fresh = asking(server, articles, tmp_path, "--temperature=1.5", "--reset")
    assert runs.run(RECIPE, *fresh) == 0
    assert Counter(server.answered.values()) == {1: 19, 2: 4}


def test_append_keeps_what_is_there_and_asks_only_for_the_rest(server, runs, articles, tmp_path):
    assert runs.run(RECIPE, *asking(server, articles, tmp_path, "--max_questions=9")) == 0
    before = all_pairs(tmp_path)
    assert len(before) == 9
    server.answer = lambda q: (200, chat("Something else"))
    # the addition is killed, then goes on: its own progress is no leftover of another run
    server.kill = runs.kill
    server.since_kill = 0
    server.kills.append((4, "before", 0.0))
    adding = asking(server, articles, tmp_path, "--append", "--max_questions=6")
    assert runs.run(RECIPE, *adding) == -signal.SIGKILL
    assert all_pairs(tmp_path) == before
    assert runs.run(RECIPE, *adding) == 0
    after = all_pairs(tmp_path)
    assert len(after) == 15
    assert {q: a for q, a in after.items() if q in before} == before
    assert {a for q, a in after.items() if q not in before} == {"Something else."}
    assert set(server.answered.values()) == {1}
    manifest = output(tmp_path, "knowledge")["manifest"]
    assert manifest["records_in"] == 15 + sum(manifest["dropped"].values())
    other = [*adding, "--max_questions=1", "--temperature=1"]
    assert runs.run(RECIPE, *other) == 0
    sources = output(tmp_path, "knowledge")["manifest"]["sources"]
    assert [s for s in sources if s.startswith("answers")] == [
        "answers by tiny, temperature 0.3",
        "answers by tiny, temperature 1.0",
    ]


def test_settings_that_nothing_was_answered_with_do_not_bind(server, runs, articles, tmp_path):
    server.answer = lambda q: (401, {})
    assert runs.run(RECIPE, *asking(server, articles, tmp_path)) == 1
    server.answer = answer
    assert runs.run(RECIPE, *asking(server, articles, tmp_path, "--temperature=1.5")) == 0


@pytest.mark.parametrize("few", ["--limit=2", "--max_questions=2"])
def test_a_few_questions_fill_both_splits(runs, articles, tmp_path, few):
    options = ["--use_squad_answers", f"--input={articles}", f"--out_dir={tmp_path}"]
    assert runs.run(RECIPE, *options, few) == 0
    assert {split: len(pairs) for split, pairs in pairs_of(tmp_path).items()} == {
        "train": 1,
        "val": 1,
    }


def test_reset_asks_everything_anew(server, runs, articles, tmp_path):
    few = asking(server, articles, tmp_path, "--max_questions=4")
    assert runs.run(RECIPE, *few) == 0
    server.answer = lambda q: (503, {})
    assert runs.run(RECIPE, *few, "--reset") == 1
    assert "0 of 4 questions are answered and saved" in runs.last
    assert not (tmp_path / "knowledge.json").exists()


def test_reset_beside_another_run_deletes_nothing(server, runs, articles, tmp_path):
    assert runs.run(RECIPE, *asking(server, articles, tmp_path)) == 0
    before = output(tmp_path, "knowledge")
    with Journal(tmp_path / "raw" / "knowledge.progress.sqlite"):
        assert runs.run(RECIPE, *asking(server, articles, tmp_path, "--reset")) == 1
    assert "another run is writing" in runs.last
    assert output(tmp_path, "knowledge") == before


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], "--use_squad_answers for the dataset's own answers, or --model NAME"),
        (["--model=x", "--reset", "--append"], "--reset deletes what --append keeps"),
        (["--model=x", "--max_questions=0"], "--max_questions 0 must be 1 or more"),
        (["--model=x", "--concurrency=0"], "--concurrency 0 must lie between"),
    ],
)
def test_wrong_usage_is_one_line(runs, articles, tmp_path, flags, told):
    given = [f"--input={articles}", f"--out_dir={tmp_path / 'out'}"]
    assert runs.run(RECIPE, *given, *flags) == 2
    assert told in runs.last
    assert runs.last.count("\n") == 1


def test_what_is_no_squad_is_one_line(runs, tmp_path):
    path = tmp_path / "other.json"
    path.write_text('[{"a": 1}]')
    assert runs.run(RECIPE, "--use_squad_answers", f"--input={path}", f"--out_dir={tmp_path}") == 1
    assert "this is not SQuAD" in runs.last


def test_urls_and_keys():
    def base(url=None, key=None, **environ):
        return llm.base_url(url, key, environ)

    assert base("http://localhost:11434") == "http://localhost:11434/v1"
    assert base("http://localhost:11434/v1/") == "http://localhost:11434/v1"
    assert base("localhost:8000") == "http://localhost:8000/v1"
    assert base("https://a.example/api/v1/chat/completions") == "https://a.example/api/v1"
    assert base() == "http://localhost:11434/v1"
    assert base(key="sk") == "https://api.openai.com/v1"
    assert base(OPENAI_BASE_URL="http://x/v1", OLLAMA_HOST="y") == "http://x/v1"
    assert base(OLLAMA_HOST="0.0.0.0") == "http://127.0.0.1:11434/v1"
    assert base(OLLAMA_HOST="http://box:99") == "http://box:99/v1"
    assert llm.api_key(None, {"OPENAI_API_KEY": " sk \n"}) == "sk"
    assert llm.api_key(None, {}) is None
    for address in ("ftp://a", "not a url", "http://"):
        with pytest.raises(ValueError, match="is not a web address"):
            base(address)
    with pytest.raises(ValueError, match="copy it again") as caught:
        llm.api_key("sk\nsecret", {})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("question", "answer", "told"),
    [
        (
            "Who wrote the script for Spectre?",
            "John Logan",
            "John Logan wrote the script for Spectre.",
        ),
        ("Who was the 8th Karmapa Lama?", "Mikyö Dorje", "Mikyö Dorje was the 8th Karmapa Lama."),
        ("What is the name of the ship?", "La Dauphine", "The name of the ship is La Dauphine."),
        ("Who did she meet?", "the mayor", "The mayor."),
        ("Who was the album dedicated to?", "Jay Z", "Jay Z."),
        ("What was the goal of the campaign?", "end hunger", "End hunger."),
        ("When did it open?", "May 4, 1998", "On May 4, 1998."),
        ("In what decade was it built?", "1990s", "1990s."),
        ("When was it built?", "1990s", "In the 1990s."),
        ("What is it called?", '"iPod', "iPod."),
        ("How many came?", "12 (twelve", "12 twelve."),
        ("Where is it?", "Washington D.C.", "Washington D.C."),
    ],
)
def test_sentences(question, answer, told):
    assert squad.sentence(question, answer)[0] == told


def test_questions_are_tidied():
    assert squad.tidy_question(" what is  the state fossil ") == "What is the state fossil?"
    assert squad.tidy_question("What word is used/") == "What word is used?"
    assert squad.tidy_question("Name four sound profiles.") == "Name four sound profiles."
    with pytest.raises(Unusable):
        squad.tidy_question("dd")


def test_who_is_meant_must_stand_in_the_question():
    assert squad.names_nobody("When did she appear on the cover of GQ?")
    assert squad.names_nobody("In her music, what comes back?")
    assert not squad.names_nobody("When did Chopin give his last concert?")
    assert not squad.names_nobody("Beyonce gave her salary to whom?")
    assert not squad.names_nobody("Where is the shelter?")


def test_what_a_model_replies():
    def told(text, finish="stop"):
        return llm.usable(llm.reply(chat(text, finish)))

    assert told("<think>Hm.</think>\n\nIt is Oslo.") == "It is Oslo."
    assert told("Hm, Oslo?\n</think>\n\nIt is Oslo.") == "It is Oslo."
    assert told("According to the passage, it is Oslo.") == "it is Oslo."
    assert told('"It is Oslo."') == "It is Oslo."
    for text, reason in (
        (None, "empty"),
        ("<think>Hm.", "empty"),
        ("I’m sorry, but I can’t help with that.", "refused"),
        ("Unfortunately, the passage does not say.", "refused"),
        ("half of an emoji: \ud83d", "Unicode"),
    ):
        with pytest.raises(Unusable, match=reason):
            told(text)
    with pytest.raises(Unusable, match="cut off by the length limit"):
        told("It is", "length")
    with pytest.raises(TypeError):  # asked again
        llm.reply(chat([{"type": "text", "text": "It is Oslo."}]))


def test_an_article_before_the_answer_belongs_to_it(tmp_path):
    context = "It is the Battle of Hastings, won by the Norman duke."
    asked = [
        qa("What was it?", "Battle of Hastings", context),
        qa("Whose was it?", "Norman", context),
    ]
    path = tmp_path / "squad.json"
    article = {"title": "A", "paragraphs": [{"context": context, "qas": asked}]}
    path.write_text(json.dumps({"data": [article]}))
    answers = [q.answer for q in squad.read([path], Tally())]
    assert answers == ["the Battle of Hastings", "Norman"]


def test_the_real_slice(realdata, runs, tmp_path):
    path = realdata / "squad" / "train-v1.1.head.json"
    options = ["--use_squad_answers", f"--input={path}", f"--out_dir={tmp_path}"]
    assert runs.run(RECIPE, *options) == 0
    manifest = output(tmp_path, "knowledge")["manifest"]
    assert manifest["records_in"] == 4370
    dropped = manifest["dropped"]
    assert dropped["the same question again"] == 19
    unnamed = dropped["about somebody it does not name"]
    assert 100 < unnamed < 200
    pairs = all_pairs(tmp_path)
    assert len(pairs) == 4370 - 19 - unnamed
    assert all(re.search(r"[.!?][\"'”)]*$", answer) for answer in pairs.values())
    assert all(q[0].isupper() or not q[0].islower() for q in pairs)
    assert pairs["Who wrote the early drafts of the script for Spectre?"] == (
        "John Logan wrote the early drafts of the script for Spectre."
    )

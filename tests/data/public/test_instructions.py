"""Dolly, OpenAssistant, ShareGPT and Alpaca: the recipes on the real slices, and their mending."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from jojo.data import recipes
from jojo.data.bins import open_dataset
from jojo.data.contract import Tally
from jojo.data.formats.shapes import oasst_best_path
from jojo.data.prepare import prepare
from jojo.data.public import instructions
from jojo.text.template import decode


@pytest.fixture
def prepared(tmp_path):
    """Runs a recipe on a file; returns its manifest and every conversation it wrote."""

    def call(name: str, source: Path, **more):
        recipe = recipes.load(name)
        manifest = prepare(recipe, recipe.options(input=source, out_dir=tmp_path, **more))
        dataset = open_dataset(name, tmp_path)
        return manifest, [
            decode(ids, "chatml")
            for split in ("train", "val")
            for ids in dataset.conversations(split)
        ]

    return call


def first_words(conversations) -> Counter[str]:
    return Counter(m["role"] for messages in conversations for m in messages[:1])


def test_dolly(prepared, realdata):
    manifest, found = prepared("dolly", realdata / "dolly")
    assert (manifest.records_in, manifest.dropped) == (3, {})
    airline = next(m for m in found if "Virgin" in m[0]["content"])
    question = "When did Virgin Australia start operating?\n\nVirgin Australia, the trading name of"
    assert airline[0]["content"].startswith(question)
    assert airline[1]["content"].endswith(
        "on 31 August 2000 as Virgin Blue, with two aircraft on a single route."
    )
    assert "CC BY-SA 3.0" in manifest.licence


def test_dolly_loses_wikipedias_citation_numbers_only_beside_a_text(tmp_path):
    path = tmp_path / "x.jsonl"
    rows = [
        {
            "instruction": "Who?",
            "context": "Ann[1] and Bob.[23]",
            "response": "Ann[1]",
            "category": "",
        },
        {"instruction": "What is a[1]?", "context": "", "response": "b[2]", "category": ""},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tally = Tally()
    options = recipes.load("dolly").options(input=path)
    contents = [[m["content"] for m in c.messages] for c in instructions.dolly(options, tally)]
    assert contents == [["Who?\n\nAnn and Bob.", "Ann"], ["What is a[1]?", "b[2]"]]
    assert tally.changed == {"citation numbers removed": 3}


def test_oasst_gives_the_one_best_path_of_each_tree(prepared, realdata):
    source = realdata / "oasst" / "en_100_tree.jsonl"
    manifest, found = prepared("oasst", source)
    assert (manifest.records_in, len(found), manifest.dropped) == (100, 100, {})
    trees = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    by_question = {messages[0]["content"]: messages for messages in found}
    for tree in trees:
        node, path = tree["prompt"], []
        while node:
            path.append(node)
            ranked = [r for r in node["replies"] if r.get("rank") is not None]
            node = (
                min(ranked, key=lambda r: r["rank"])
                if ranked
                else next(iter(node["replies"]), None)
            )
        if path[-1]["role"] == "prompter":
            path.pop()
        messages = by_question[tree["prompt"]["text"].strip()]
        assert [m["content"] for m in messages] == [n["text"].strip() for n in path]
        assert [m["role"] for m in messages] == ["user", "assistant"] * (len(path) // 2)


def test_oasst_in_another_language(complaint, prepared, realdata):
    source = realdata / "oasst" / "en_100_tree.jsonl"
    assert complaint(prepared, "oasst", source, lang="de") == (
        "nothing is left of 100 records: 100 not in the language de "
        "(first: en_100_tree.jsonl, line 1)"
    )
    tally = Tally()
    options = instructions.OasstOptions(input=source, lang="de")
    assert list(instructions.oasst(options, tally)) == []
    assert tally.dropped == {"not in the language de": 100}
    options.lang = "all"
    tree = json.loads(source.read_text(encoding="utf-8").splitlines()[0])
    first = next(iter(instructions.oasst(options, Tally())))
    assert first.where == "en_100_tree.jsonl, line 1"
    assert first.messages[0]["content"] == oasst_best_path(tree)[0]["content"].strip()


def test_sharegpt(prepared, realdata):
    manifest, found = prepared("sharegpt", realdata / "sharegpt")
    dropped = Counter(manifest.dropped)
    copies = dropped.pop("near duplicate", 0) + dropped.pop("exact duplicate", 0)
    assert dropped == {"no turn with text": 6, "no turns": 2}
    assert manifest.records_in == 258 == len(found) + copies + 8
    assert manifest.notes["skipped"] == {
        "empty turn": 4,
        "advertisement": 1,
        "last turn without a reply": 1,
        "reply to a question of another part": 116,
    }
    assert set(first_words(found)) == {"user"}
    text = "\n".join(m["content"] for messages in found for m in messages)
    assert "TypingMind" not in text
    assert "List<String>" in text, "code stays"
    assert 'return (\n    <div>\n      <svg\n        width="100%"' in text, "HTML in code stays"
    assert "user_id" in text
    assert not any(m["content"] in ("\u200b", "") for messages in found for m in messages)


def test_markdown_escapes_go_outside_code():
    text = "the user\\_id \\* 2\n```c\na\\_b\n``` and \\[x\\] in C:\\dir\n```\nopen\\_end"
    assert instructions.unescaped(text) == (
        "the user_id * 2\n```c\na\\_b\n``` and \\[x\\] in C:\\dir\n```\nopen\\_end"
    )


def test_alpaca(prepared, realdata):
    manifest, found = prepared("alpaca", realdata / "alpaca")
    dropped = Counter(manifest.dropped)
    copies = dropped.pop("near duplicate", 0) + dropped.pop("exact duplicate", 0)
    assert dropped == {"empty reply": 4}
    assert manifest.notes["first"]["empty reply"] == "alpaca_data.head.json, record 287"
    assert manifest.records_in == 1807 == len(found) + copies + 4
    assert all([m["role"] for m in messages] == ["user", "assistant"] for messages in found)
    questions = [messages[0]["content"] for messages in found]
    assert "Give three tips for staying healthy." in questions
    assert not any(q.lower().rstrip(".>").endswith(("noinput", "no input")) for q in questions)
    assert sum("\n\n" in q for q in questions) > 500, "inputs follow their instruction"


def test_a_folder_without_data_is_named(complaint, tmp_path):
    (tmp_path / "notes.md").write_text("Just notes.\n", encoding="utf-8")
    options = recipes.load("alpaca").options(input=tmp_path)
    message = complaint(lambda: list(instructions.alpaca(options, Tally())))
    assert message == f"{tmp_path} holds no JSON, JSON lines, CSV, TSV or parquet"

from __future__ import annotations

import json
import subprocess

import pytest
from verbs import call

from jojo.data.bins import DatasetWriter, open_dataset
from jojo.data.inspect import quality
from jojo.text.template import Message, encode


def report(*args: object) -> subprocess.CompletedProcess[str]:
    return call("data/report.py", *args)


@pytest.fixture
def dataset(tmp_path):
    """60 chats, of which two stand in train twice, and one of these in val as well."""

    def chat(i: int) -> list[Message]:
        question = f"Who are you, number {i} of {i * i} and {i * 7}?"
        return [
            {"role": "user", "content": question},
            {"role": "assistant", "content": f"I'm {i}."},
        ]

    chosen = [("val" if i % 10 == 9 else "train", i) for i in range(60)]
    chosen += [("train", 3), ("train", 4), ("val", 3)]
    with DatasetWriter(tmp_path, "few", template="chatml") as writer:
        for split, i in chosen:
            writer.add(split, encode(chat(i)))
        writer.commit(licence="none", sources=["made up"], records_in=len(chosen))
    return tmp_path


def test_report_in_words(dataset) -> None:
    done = report("few", "--data_dir", dataset)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("few: 63 conversations, template chatml\nverdict: good chat data")
    assert "  leakage: 14.3% of val" in done.stdout
    assert (
        "      val 6: «Who are you, number 3 of 9 and 21? / I'm 3.» is like train 3" in done.stdout
    )
    assert "  duplicates: 4.8% occur more than once" in done.stdout


def test_report_as_json(dataset) -> None:
    done = report("few", "--data_dir", dataset, "--json", "--examples", 1)
    facts = json.loads(done.stdout)
    assert (facts["name"], facts["conversations"], facts["looked_at"]) == ("few", 63, 63)
    assert facts["figures"]["turns"] == {"mean": 2.0, "median": 2.0, "most": 2}
    assert all(len(w["examples"]) <= 1 for w in facts["warnings"])


def test_a_sample_still_finds_all_verbatim_copies(dataset) -> None:
    found = quality.examine_dataset(open_dataset("few", dataset), sample=5)
    assert (found.looked_at, found.total) == (5, 63)
    shares = found.figures["shares"]
    assert shares["exact duplicates"] == round(3 / 63, 5)
    assert shares["leak"] == round(1 / 7, 5)
    leak = next(w for w in found.warnings if w.name == "leakage")
    assert leak.examples == ("val 6: «Who are you, number 3 of 9 and 21? / I'm 3.»",)
    again = quality.examine_dataset(open_dataset("few", dataset), sample=5)
    assert again.facts() == found.facts()


def test_wrong_usage(dataset) -> None:
    done = report("few", "--data_dir", dataset, "--sample", 0)
    assert (done.returncode, done.stderr) == (2, "error: --sample 0 must be 1 or more\n")
    done = report("none", "--data_dir", dataset)
    assert done.returncode == 1
    assert done.stderr.startswith("error: dataset 'none' is not in ")

"""The package of the Chit-Chat Challenge."""

from __future__ import annotations

import json

import pytest

from jojo.data.contract import Tally
from jojo.data.public import byu


def said(sender, text):
    return {"sender": sender, "text": text, "timestamp": "2018-05-02T19:38:15Z"}


def test_byu_turns_are_merged_by_speaker(tmp_path):
    path = tmp_path / "dataset.json"
    talk = [[said("a", "Hello"), said("a", " how are\nyou? ")], [said("b", " ")], [said("b", "Ok")]]
    path.write_text(json.dumps({"1": {"messages": talk}, "2": {"messages": [[said("a", "Hm")]]}}))
    tally = Tally()
    (conversation,) = byu.read(path, tally)
    assert conversation.messages == [
        {"role": "user", "content": "Hello how are you?"},
        {"role": "assistant", "content": "Ok"},
    ]
    assert (tally.records_in, dict(tally.dropped)) == (2, {"nobody answered": 1})


@pytest.mark.parametrize("text", ['{"1": {"mess', "[1, 2]", '{"1": {"text": "a"}}'])
def test_byu_refuses_another_file(tmp_path, text):
    path = tmp_path / "dataset.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"is not chitchat-dataset's dataset\.json"):
        list(byu.read(path, Tally()))


def test_byu_missing_names_the_install_line(monkeypatch):
    def missing(name):
        raise byu.PackageNotFoundError(name)

    monkeypatch.setattr(byu, "distribution", missing)
    with pytest.raises(ValueError, match=r"pip install chitchat-dataset==0\.9\.0"):
        byu.installed()


def test_byu_reads_the_whole_package():
    try:
        path = byu.installed()
    except ValueError:
        pytest.skip("chitchat-dataset is not installed")
    tally = Tally()
    kept = sum(1 for _ in byu.read(path, tally))
    assert tally.records_in == 7168
    assert kept == 7168 - tally.dropped["nobody answered"] == 4017

"""data/prepare-speakers.py: interviews and chat exports as <speaker1> and <speaker2>."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from verbs import call

from jojo.data.own import speakers
from jojo.data.own.found import Found
from jojo.files import ROOT

RECIPE = ROOT / "data" / "prepare-speakers.py"
CHAT = [  # minutes, who, text
    *((0, "Anna", "hi"), (1, "Bob", "hello"), (2, "Anna", "tea?"), (3, "Bob", "yes\nplease")),
    *((900, "Anna", "late?"), (901, "Bob", "no"), (902, "Anna", "good"), (903, "Carl", "ok")),
]
CLOCK = [("00", "Anna"), ("01", "Bob")]


def run(*args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return call("data/prepare-speakers.py", *args, cwd=cwd)


def written(folder: Path, name: str = "speakers") -> tuple[str, str, dict]:
    texts = [(folder / f"{name}-{s}.txt").read_text(encoding="utf-8") for s in ("train", "val")]
    return texts[0], texts[1], json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def interview(path: Path, outgoing: str | None = "Bob") -> Path:
    messages = [
        {"timestamp": 60.0 * minute, "conversationId": "1", "senderName": who, "text": text}
        | ({} if outgoing is None else {"outgoing": who == outgoing})
        for minute, who, text in CHAT
    ]
    path.write_text(json.dumps(messages), encoding="utf-8")
    return path


def test_whose_messages_are_outgoing_is_speaker1(tmp_path: Path) -> None:
    done = run("--data_path", interview(tmp_path / "i.json"), "--out_dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the model speaks as Bob (3 of 8 messages); --as NAME" in done.stderr
    train, val, manifest = written(tmp_path)
    assert sorted([train, val]) == [
        "<speaker2> hi\n<speaker1> hello\n<speaker2> tea?\n<speaker1> yes please\n<|endoftext|>",
        "<speaker2> late?\n<speaker1> no\n<|endoftext|>",
    ]
    assert manifest["template"] == "speaker"
    assert (manifest["records_in"], manifest["dropped"]) == (2, {})
    assert manifest["notes"]["skipped"] == {"a last message without a reply": 2}
    assert any(s.startswith("i.json sha256:") for s in manifest["sources"])


def test_somebody_else_may_be_imitated(tmp_path: Path) -> None:
    path = interview(tmp_path / "i.json")
    done = run("--data_path", path, "--as", "anna", "--out_dir", tmp_path, "--name", "anna")
    assert done.returncode == 0, done.stderr
    train, val, _ = written(tmp_path, "anna")
    assert sorted([train, val]) == [
        "<speaker1> hi\n<speaker2> hello\n<speaker1> tea?\n<|endoftext|>",
        "<speaker1> late?\n<speaker2> no\n<speaker1> good\n<|endoftext|>",
    ]


def test_a_whatsapp_export_does_as_well(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    lines = [f"1/{13 + m // 900}/21, 12:{m % 900:02} - {who}: {text}" for m, who, text in CHAT]
    path.write_text("\n".join(lines), encoding="utf-8")
    done = run("--data_path", path, "--as", "Bob", "--anonymize", "--out_dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "<speaker2> tea?\n<speaker1> yes please\n" in "".join(written(tmp_path)[:2])


def test_in_an_encoding_of_old(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt"
    lines = [f"1/{13 + i}/21, 12:{m} - {w}: café {i}" for i in (0, 1) for m, w in CLOCK]
    path.write_text("\n".join(lines), encoding="cp1252")
    done = run("--data_path", path, "--as", "Bob", "--out_dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "changed: decoded as CP1252" in done.stderr
    assert sorted(written(tmp_path)[:2]) == [
        f"<speaker2> café {i}\n<speaker1> café {i}\n<|endoftext|>" for i in (0, 1)
    ]


def test_of_records_the_assistant_is_speaker1(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    turns = [("system", "Be kind."), ("user", "hi"), ("system", "Be short."), ("user", "tea?")]
    records = [
        [*turns, ("assistant", "yes")],
        [("user", "late?"), ("assistant", "no"), ("user", "good")],
    ]
    messages = [[{"role": r, "content": c} for r, c in record] for record in records]
    path.write_text("\n".join(json.dumps({"messages": m}) for m in messages))
    done = run("--data_path", path, "--out_dir", tmp_path)
    assert done.returncode == 0, done.stderr
    train, val, manifest = written(tmp_path)
    assert sorted([train, val]) == [
        "<speaker2> hi tea?\n<speaker1> yes\n<|endoftext|>",
        "<speaker2> late?\n<speaker1> no\n<|endoftext|>",
    ]
    assert manifest["notes"]["skipped"] == {
        "a system message (no speaker)": 2,
        "last turn without a reply": 1,
    }


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    path = interview(tmp_path / "i.json", outgoing=None)
    (tmp_path / "bad.json").write_text('{"a":')
    text, records = tmp_path / "tale.txt", tmp_path / "records.jsonl"
    text.write_text("Once upon a time.")
    records.write_text(json.dumps({"user": "hi", "bot": "ho"}))
    for args, code, problem in (
        (
            ("--data_path", path, "--as", "Zoe"),
            1,
            "--as 'Zoe' matches nobody; the names found are Anna",
        ),
        (("--data_path", tmp_path / "none.json"), 1, "none.json does not exist"),
        (("--data_path", tmp_path / "bad.json"), 1, "malformed JSON (first: bad.json, record 1)"),
        (("--data_path", text), 1, "tale.txt is plain text without speakers"),
        (("--data_path", records, "--as", "Bob"), 1, "--as 'Bob' names nobody"),
        (("--data_path", path, "--gap", "long"), 2, "--gap 'long' is no duration"),
        (("--data_path", path, "--me", "Bob"), 2, "--me"),
        (("--data_path", path, "--system", "x"), 2, "--system"),
    ):
        done = run(*args, "--out_dir", tmp_path / "out")
        assert done.returncode == code, done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert problem in errors[0]
        assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out").glob("speakers*"))


def test_without_a_path_the_only_json_in_datasets_is_read(
    tmp_path: Path, complaint, monkeypatch
) -> None:
    folder = tmp_path / "datasets"
    monkeypatch.setattr(speakers, "DATASETS_FOLDER", folder)

    def path() -> Path:
        return speakers.SpeakersOptions().found.files[0].path

    assert "holds no JSON files" in complaint(path)
    folder.mkdir()
    interview(folder / "a.JSON")
    (folder / "notes.txt").write_text("x")
    (folder / "._a.json").write_text("x")  # as macOS leaves them
    assert path() == folder / "a.JSON"
    interview(folder / "b.json")
    assert "holds 2 JSON files" in complaint(path)
    assert "`data_path`" in complaint(path)


def test_interviews_alone_are_usually_written_as_speakers(tmp_path: Path) -> None:
    first, second = interview(tmp_path / "a.json"), interview(tmp_path / "b.json", outgoing=None)
    records, text = tmp_path / "records.jsonl", tmp_path / "tale.txt"
    chat, bad = tmp_path / "chat.txt", tmp_path / "bad.json"
    records.write_text(json.dumps({"user": "hi", "bot": "ho"}))
    text.write_text("Once upon a time.")
    chat.write_text("User: hi\nBot: ho\n\nUser: tea?\nBot: yes\n")
    bad.write_text('{"a":')
    for paths, expected in (
        ((first,), "speaker"),
        ((first, second), "speaker"),
        ((first, bad), "speaker"),
        ((first, records), "chatml"),
        ((chat, first), "chatml"),
        ((first, text), "chatml"),
        ((records,), "chatml"),
        ((bad,), "chatml"),
        ((text,), "text"),
    ):
        with Found(paths) as found:
            assert speakers.usual_template(found) == expected, paths


def test_the_real_interviews(realdata: Path, tmp_path: Path) -> None:
    path = realdata / "interviews" / "barack_obama_interviews.json"
    done = run("--data_path", path, "--out_dir", tmp_path)
    assert done.returncode == 0, done.stderr
    train, val, manifest = written(tmp_path)
    assert manifest["records_in"] == 12  # three interviews of 52, 243 and 108 turns
    assert manifest["dropped"] == {}
    assert manifest["notes"]["skipped"] == {"a last message without a reply": 1}
    assert manifest["conversations"] == {"train": 11, "val": 1}
    assert manifest["tokens"] == {"train": 22248, "val": 2388}
    text = train + val
    sides = [m["outgoing"] for m in json.loads(path.read_text(encoding="utf-8"))]
    turns = sum(a and not b for a, b in zip(sides, [*sides[1:], False], strict=True))
    assert text.count("<speaker1> ") == turns
    assert (
        "<speaker2> Is there any link between security and entrepreneurship?\n<speaker1> I think"
        in text
    )

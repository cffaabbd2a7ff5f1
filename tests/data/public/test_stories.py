from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jojo.data.bins import open_dataset
from jojo.data.contract import PrepareOptions, Recipe, Tally
from jojo.data.prepare import prepare
from jojo.data.public import stories
from tokenizer import ENDOFTEXT, decode

END = "<|endoftext|>"


def story(number: int) -> str:
    return f"Once upon a time, number {number} met “Ünï {number * 7}”.\n\nThey were happy."


def recipe() -> Recipe:
    return Recipe("story", "text", "x", (), documents=stories.documents, write_text=False)


def texts(path: Path, **options) -> tuple[list[tuple[str | None, str]], Tally]:
    tally = Tally(limit=options.get("limit"))
    found = stories.documents(PrepareOptions(input=path, **options), tally)
    return [(split, text) for split, texts in found for text in texts], tally


def test_boundaries_wherever_blocks_end(tmp_path: Path, monkeypatch) -> None:
    wanted = [story(i) for i in range(40)]
    path = tmp_path / "s.txt"
    path.write_text("".join(f"{s}\n{END}\n" for s in wanted), encoding="utf-8")
    for size in (1, 7, 64, 1000, 1 << 20):
        monkeypatch.setattr(stories, "BLOCK_BYTES", size)
        found, tally = texts(path)
        assert [text for _, text in found] == wanted
        assert (tally.records_in, tally.dropped) == (40, {})
        assert tally.sources[0].startswith("s.txt sha256:")


def test_windows_line_ends(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(stories, "BLOCK_BYTES", 10)
    path = tmp_path / "s.txt"
    path.write_bytes(f"One.\r\n\r\nTwo.\r\n{END}\r\nThree.\r\n{END}\r\n".encode())
    assert [text for _, text in texts(path)[0]] == ["One.\n\nTwo.", "Three."]


def test_the_cut_and_the_empty_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text(f"A.\n{END}\n{END}\nB.\n{END}\nAnd then she w")
    found, tally = texts(path)
    assert [text for _, text in found] == ["A.", "B."]
    assert tally.dropped == {"empty": 1, "cut off at the end of the file": 1}
    assert tally.records_in == 4
    assert [text for _, text in texts(path, limit=1)[0]] == ["A."]


def test_a_folder_of_train_and_valid(tmp_path: Path) -> None:
    (tmp_path / "T-train.txt").write_text("".join(f"{story(i)}{END}" for i in range(50)))
    (tmp_path / "T-valid.txt").write_text("".join(f"{story(i)}{END}" for i in range(45, 55)))
    assert [split for split, _ in texts(tmp_path)[0]] == ["val"] * 10 + ["train"] * 50
    manifest = prepare(recipe(), PrepareOptions(input=tmp_path, out_dir=tmp_path / "out"))
    assert manifest.conversations == {"train": 45, "val": 10}
    assert manifest.dropped == {"exact duplicate": 5}
    assert not (tmp_path / "out" / "story-train.txt").exists()
    ids = open_dataset("story", tmp_path / "out").ids["val"]
    assert decode(ids[: list(ids).index(ENDOFTEXT)]) == story(45)


def test_one_file_is_split(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("".join(f"{story(i)}{END}" for i in range(300)))
    options = PrepareOptions(input=tmp_path / "s.txt", out_dir=tmp_path, val_fraction=0.1)
    manifest = prepare(recipe(), options)
    assert 10 < manifest.conversations["val"] < 60
    assert sum(manifest.conversations.values()) == 300


def test_bad_input(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        texts(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="must hold one"):
        texts(tmp_path)
    path = tmp_path / "s.txt"
    path.write_bytes(b"Good." + END.encode() + b"Bad \xff." + END.encode())
    with pytest.raises(ValueError, match="byte 22: not valid UTF-8"):
        texts(path)
    monkeypatch.setattr(stories, "MAX_STORY_BYTES", 1000)
    path.write_text("no end " * 1000)
    with pytest.raises(ValueError, match="closes each story"):
        texts(path)


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path: Path) -> None:
    """Forty megabytes more text may not cost forty megabytes more memory."""
    code = (
        "import sys, resource; from pathlib import Path\n"
        "from jojo.data import recipes\n"
        "from jojo.data.contract import PrepareOptions\n"
        "from jojo.data.prepare import prepare\n"
        "options = PrepareOptions(input=Path(sys.argv[1]), out_dir=Path(sys.argv[2]))\n"
        "prepare(recipes.load('story'), options)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    peaks = []
    for copies in (2, 10):
        path = tmp_path / f"{copies}.txt"
        with open(path, "w") as file:
            for i in range(copies * 1000):
                file.write(f"{i} " + "The cat sat on the mat. " * 200 + END)
        command = [sys.executable, "-c", code, str(path), str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 25, f"{peaks} MiB for 10 and 48 MB"


def test_real_stories(tmp_path: Path) -> None:
    root = os.environ.get("JOJO_REALDATA")
    if not root:
        pytest.skip("JOJO_REALDATA is not set")
    source = Path(root) / "tinystories"
    manifest = prepare(recipe(), PrepareOptions(input=source, out_dir=tmp_path))
    assert manifest.records_in == 2317
    assert manifest.dropped == {"cut off at the end of the file": 1}

"""What a writer leaves, what a reader refuses, the order in which data is read."""

from __future__ import annotations

import hashlib
import json
import math
import random
from itertools import pairwise

import numpy as np
import pytest

import tokenizer
from jojo.data.batches import Batches
from jojo.data.bins import DatasetWriter, open_dataset
from jojo.text.template import encode
from tokenizer import ENDOFTEXT, IM_START

HELLO = np.array(encode([{"role": "user", "content": "Hello 🙂"}]), dtype=np.uint16)


@pytest.fixture
def prepared(tmp_path):
    """A small valid dataset `tiny` in tmp_path."""
    with DatasetWriter(tmp_path, "tiny", template="chatml") as writer:
        for _ in range(20):
            writer.add("train", HELLO)
        writer.add("val", HELLO)
        writer.commit(licence="MIT", sources=["here"], seed=7, records_in=22, dropped={"empty": 1})
    return tmp_path


def edit_manifest(folder, **changes) -> None:
    path = folder / "tiny.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def replace_bin(folder, ids: np.ndarray) -> None:
    """Another train .bin that its manifest vouches for."""
    data = ids.astype("<u2").tobytes()
    (folder / "tiny-train.bin").write_bytes(data)
    manifest = json.loads((folder / "tiny.json").read_text())
    manifest["bytes"]["train"] = len(data)
    manifest["sha256"]["train"] = hashlib.sha256(data).hexdigest()
    edit_manifest(folder, **manifest)


# writing


def test_a_dataset_is_five_files(prepared):
    names = {path.name for path in prepared.iterdir()}
    bins = {"tiny-train.bin", "tiny-val.bin", "tiny-train.txt", "tiny-val.txt"}
    assert names == bins | {"tiny.json"}


def test_the_bin_is_little_endian_ids_and_nothing_else(prepared):
    assert (prepared / "tiny-val.bin").read_bytes() == HELLO.astype("<u2").tobytes()


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_text_is_what_the_bin_decodes_to(prepared, split):
    ids = np.fromfile(prepared / f"tiny-{split}.bin", dtype="<u2")
    text = (prepared / f"tiny-{split}.txt").read_bytes()
    assert text == tokenizer.decode_bytes(ids)
    assert text.decode("utf-8").startswith("<|im_start|>user\nHello 🙂\n")


def test_the_manifest_holds_the_facts(prepared):
    facts = json.loads((prepared / "tiny.json").read_text())
    train = (prepared / "tiny-train.bin").read_bytes()
    assert facts["template"] == "chatml"
    assert facts["tokens"] == {"train": 20 * len(HELLO), "val": len(HELLO)}
    assert facts["conversations"] == {"train": 20, "val": 1}
    assert facts["bytes"]["train"] == len(train)
    assert facts["sha256"]["train"] == hashlib.sha256(train).hexdigest()
    assert (facts["licence"], facts["sources"], facts["seed"]) == ("MIT", ["here"], 7)
    assert (facts["records_in"], facts["dropped"]) == (22, {"empty": 1})
    assert facts["created"]


OLD = {  # as Jojo wrote it before privacy was a field
    "name": "tiny",
    "template": "chatml",
    "tokenizer": tokenizer.VOCABULARY,
    "tokens": {"train": 0, "val": 0},
    "conversations": {"train": 20, "val": 1},
    "bytes": {"train": 0, "val": 0},
    "sha256": {"train": "", "val": ""},
    "records_in": 22,
    "dropped": {"empty": 1},
    "sources": ["here"],
    "licence": "MIT",
    "seed": 7,
    "created": "2025-01-01T00:00:00Z",
    "notes": {"val_fraction": 0.05},
}


@pytest.mark.parametrize(
    ("licence", "private"),
    [
        *(("MIT", False), ("none stated", False), ("", None)),
        *(("as the files that were read", True), ("MIT + as the files that were read", True)),
    ],
)
def test_an_older_manifest_is_opened_and_tells_by_its_licence_if_it_is_private(
    licence, private, prepared
):
    new = json.loads((prepared / "tiny.json").read_text())
    sizes = {name: new[name] for name in ("tokens", "bytes", "sha256")}
    old = OLD | sizes | {"licence": licence}
    (prepared / "tiny.json").write_text(json.dumps(old))
    manifest = open_dataset("tiny", prepared).manifest
    assert (manifest.private, manifest.seed, manifest.hash[:9]) == (
        *(private, 7),
        new["sha256"]["train"][:9],
    )


def test_privacy_is_a_field_and_the_licence_does_not_count_beside_it(prepared):
    for private, licence in ((True, "MIT"), (False, "as the files that were read")):
        edit_manifest(prepared, private=private, licence=licence)
        assert open_dataset("tiny", prepared).manifest.private is private


def test_the_hash_names_the_tokens(prepared, tmp_path):
    before = open_dataset("tiny", prepared).manifest.hash
    assert open_dataset("tiny", prepared).manifest.hash == before
    replace_bin(prepared, HELLO)
    assert open_dataset("tiny", prepared).manifest.hash != before


def test_a_dataset_without_texts_removes_older_ones(prepared):
    with DatasetWriter(prepared, "tiny", template="text", write_text=False) as writer:
        writer.add("train", HELLO)
        writer.add("val", HELLO)
        writer.commit()
    assert {p.suffix for p in prepared.iterdir()} == {".bin", ".json"}


def interrupted_preparation(folder) -> None:
    with DatasetWriter(folder, "tiny", template="text") as writer:
        writer.add("train", HELLO)
        writer.add("val", HELLO)
        raise KeyboardInterrupt


def test_an_interrupted_preparation_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted_preparation(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_preparation_leaves_the_old_dataset(prepared):
    before = {path.name: path.read_bytes() for path in prepared.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        interrupted_preparation(prepared)
    assert {path.name: path.read_bytes() for path in prepared.iterdir()} == before


def test_nothing_is_visible_before_the_commit(tmp_path):
    with DatasetWriter(tmp_path, "tiny", template="chatml") as writer:
        writer.add("train", HELLO)
        assert not [p for p in tmp_path.iterdir() if not p.name.startswith(".")]


def test_a_split_without_conversations_is_an_error(tmp_path, complaint):
    with DatasetWriter(tmp_path, "tiny", template="chatml") as writer:
        writer.add("train", HELLO)
        assert "--val_fraction" in complaint(writer.commit)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_template_is_an_error(tmp_path, complaint):
    assert "chatml" in complaint(DatasetWriter, tmp_path, "tiny", template="chatlm")


# opening


def test_a_valid_dataset_opens(prepared):
    dataset = open_dataset("tiny", prepared)
    np.testing.assert_array_equal(dataset.ids["val"], HELLO)
    assert len(dataset.ids["train"]) == 20 * len(HELLO)
    assert dataset.manifest.template == "chatml"


def test_a_dataset_never_prepared_names_its_recipe(tmp_path, complaint):
    assert "python data/prepare-chat.py" in complaint(open_dataset, "chat", tmp_path)
    assert "prepare.py --list" in complaint(open_dataset, "nosuch", tmp_path)


def test_a_missing_bin_is_an_error(prepared, complaint):
    (prepared / "tiny-val.bin").unlink()
    assert "tiny-val.bin" in complaint(open_dataset, "tiny", prepared)


def test_an_empty_bin_is_an_error(prepared, complaint):
    (prepared / "tiny-train.bin").write_bytes(b"")
    assert "0 bytes" in complaint(open_dataset, "tiny", prepared)


def test_an_empty_bin_that_the_manifest_vouches_for_is_an_error(prepared, complaint):
    replace_bin(prepared, np.zeros(0))
    assert "tiny-train.bin" in complaint(open_dataset, "tiny", prepared)


@pytest.mark.parametrize("cut", [1, 2, 33])
def test_a_truncated_bin_is_an_error(prepared, complaint, cut):
    path = prepared / "tiny-train.bin"
    path.write_bytes(path.read_bytes()[:-cut])
    message = complaint(open_dataset, "tiny", prepared)
    assert "tiny-train.bin" in message
    assert "bytes" in message


def test_a_bin_with_half_an_id_is_an_error(prepared, complaint):
    path = prepared / "tiny-train.bin"
    path.write_bytes(path.read_bytes() + b"\0")
    edit_manifest(prepared, bytes={"train": path.stat().st_size, "val": 2 * len(HELLO)})
    assert "tiny-train.bin" in complaint(open_dataset, "tiny", prepared)


def test_a_bin_of_another_tokenizer_is_an_error(prepared, complaint):
    replace_bin(prepared, np.array([1, 2, 60000]))
    assert "60000" in complaint(open_dataset, "tiny", prepared)


def test_a_bin_of_another_dtype_is_an_error(prepared, complaint):
    (prepared / "tiny-train.bin").write_bytes(np.arange(1000, dtype=np.int64).tobytes())
    assert "tiny-train.bin" in complaint(open_dataset, "tiny", prepared)


def test_a_changed_bin_of_the_same_size_is_an_error(prepared, complaint):
    path = prepared / "tiny-train.bin"
    data = bytearray(path.read_bytes())
    data[2] ^= 1  # another role, an id that exists
    path.write_bytes(data)
    assert "SHA-256" in complaint(open_dataset, "tiny", prepared)


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "3", "null", "{}", '{"surprise": 1}'])
def test_a_manifest_that_is_none_is_an_error(prepared, complaint, content):
    (prepared / "tiny.json").write_text(content)
    assert "tiny.json" in complaint(open_dataset, "tiny", prepared)


def test_a_manifest_that_is_not_utf8_is_an_error(prepared, complaint):
    (prepared / "tiny.json").write_bytes(b"\xff\xfe{}")
    assert "tiny.json" in complaint(open_dataset, "tiny", prepared)


@pytest.mark.parametrize(
    "changes",
    [
        {"bytes": {"val": 3}},
        {"bytes": 5},
        {"bytes": {"train": "many", "val": 1}},
        {"sha256": {}},
        {"sha256": None},
        {"tokens": {}},
        {"tokens": [1, 2]},
        {"template": "chatlm"},
        {"template": 5},
        {"tokenizer": None},
    ],
    ids=str,
)
def test_a_manifest_with_wrong_facts_is_an_error(prepared, complaint, changes):
    edit_manifest(prepared, **changes)
    assert "prepare" in complaint(open_dataset, "tiny", prepared)


def test_a_dataset_of_another_tokenizer_is_an_error(prepared, complaint):
    edit_manifest(prepared, tokenizer="llama")
    assert "llama" in complaint(open_dataset, "tiny", prepared)


def test_less_data_than_a_block_is_an_error(complaint):
    ids = np.arange(100, dtype=np.uint16)
    message = complaint(Batches, ids, "text", block_size=100, batch_size=1, seed=0)
    assert "100" in message
    assert "--block_size" in message
    Batches(ids, "text", block_size=99, batch_size=1, seed=0)  # just enough


# the order of the data


def chats(n: int = 300, seed: int = 0, typical: float = 55, longest: int = 200) -> np.ndarray:
    """Conversations in which every id that is no mark occurs once, so that reads can be counted.

    Lengths are those of real chats: many short ones, a few long ones.
    """
    rng = random.Random(seed)
    ids, fresh = [], iter(range(50_000))
    for _ in range(n):
        length = min(longest, int(rng.lognormvariate(math.log(typical), 0.7)) + 5)
        while length > 0:
            turn = rng.randint(3, 20)
            ids += [IM_START, *(next(fresh) for _ in range(turn))]
            length -= turn
        ids.append(ENDOFTEXT)
    return np.array(ids, dtype=np.uint16)


def epoch(batches: Batches, number: int = 0) -> np.ndarray:
    """All windows of an epoch (all epochs are taken to be as long as the first)."""
    n = batches.windows_per_epoch()
    return np.concatenate([batches.ids_of(number * n + step) for step in range(n)])


def batches_of(ids, template="chatml", block_size=127, batch_size=1, seed=1) -> Batches:
    return Batches(ids, template, block_size, batch_size, seed)


@pytest.mark.parametrize("template", ["chatml", "text"])
def test_a_batch_depends_on_seed_and_step_alone(template):
    ids = chats()
    used = batches_of(ids, template, batch_size=4)
    for step in (50, 3, 17):
        used.ids_of(step)
    for step in (0, 5, 200):  # 200 lies epochs later
        fresh = batches_of(ids, template, batch_size=4)
        np.testing.assert_array_equal(fresh.ids_of(step), used.ids_of(step))
    other = batches_of(ids, template, batch_size=4, seed=2)
    assert not np.array_equal(other.ids_of(0), used.ids_of(0))


@pytest.mark.parametrize("template", ["chatml", "text"])
def test_windows_are_full_and_int64(template):
    ids = batches_of(chats(), template, batch_size=6).ids_of(3)
    assert ids.shape == (6, 128)
    assert ids.dtype == np.int64


def test_ranks_share_a_batch_without_overlap():
    batches = batches_of(chats(), batch_size=8)
    for step in (0, 40):
        parts = [batches.ids_of(step, rank, 4) for rank in range(4)]
        np.testing.assert_array_equal(np.concatenate(parts), batches.ids_of(step))


def read_counts(ids: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """How often each id that occurs once in the data was read."""
    unique = ids[ids < 50_000]
    return np.bincount(windows[windows < 50_000], minlength=50_000)[unique]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_epoch_of_chats_reads_no_token_twice_and_most_once(seed):
    ids = chats(500)
    counts = read_counts(ids, epoch(batches_of(ids, block_size=255, seed=seed)))
    assert counts.max() == 1
    assert counts.mean() >= 0.85


def test_an_epoch_of_long_chats_reads_most_of_them():
    ids = chats(50, typical=600, longest=4000)
    counts = read_counts(ids, epoch(batches_of(ids, block_size=255)))
    assert counts.max() == 1
    assert counts.mean() >= 0.85


@pytest.mark.parametrize("n_chats", [40, 200])
def test_epochs_differ_in_order_and_together_read_everything(n_chats):
    ids = chats(n_chats)
    batches = batches_of(ids)
    n = batches.windows_per_epoch()
    windows = np.concatenate([batches.ids_of(step) for step in range(15 * n)])
    assert not np.array_equal(windows[:n], windows[n : 2 * n])
    assert read_counts(ids, windows).min() >= 1


def test_windows_start_where_a_conversation_starts_but_for_the_last():
    ids = chats(longest=60)
    windows = epoch(batches_of(ids))
    first_words = {int(ids[1])} | {int(ids[i + 2]) for i in np.flatnonzero(ids[:-2] == ENDOFTEXT)}
    assert set(windows[:, 0].tolist()) == {IM_START}
    assert np.mean([int(word) in first_words for word in windows[:, 1]]) > 0.8


def test_what_stands_in_a_window_is_whole_from_a_turn_to_the_end_of_a_conversation():
    ids = chats(longest=60)
    following = {int(a): int(b) for a, b in pairwise(ids) if a < ENDOFTEXT and b < ENDOFTEXT}
    for window in epoch(batches_of(ids)):
        for a, b in pairwise(window.tolist()):
            if a == ENDOFTEXT:
                assert b == IM_START
            elif b not in (ENDOFTEXT, IM_START) and a != IM_START:
                assert following[a] == b


def test_a_long_conversation_goes_on_at_a_turn_and_is_read_whole():
    turn = 30
    long = np.arange(40 * turn, dtype=np.uint16)
    long[::turn] = IM_START
    ids = np.append(long, np.uint16(ENDOFTEXT))
    batches = batches_of(ids, block_size=127)
    windows = np.concatenate([batches.ids_of(step) for step in range(200)])
    assert set(windows[:, 0].tolist()) == {IM_START}
    counts = np.bincount(windows[windows < 50_000], minlength=len(long))
    assert counts[long[long < 50_000]].min() >= 1


def test_a_turn_longer_than_a_window_is_still_read_whole():
    ids = np.arange(1000, dtype=np.uint16)
    ids[0], ids[-1] = IM_START, ENDOFTEXT
    batches = batches_of(ids, block_size=99)
    windows = np.concatenate([batches.ids_of(step) for step in range(300)])
    assert set(ids[1:-1].tolist()) <= set(windows.flatten().tolist())


def test_less_than_a_window_of_packed_chats_still_trains():
    ids = chats(5)[:129]
    assert batches_of(ids).ids_of(0).shape == (1, 128)


def test_an_epoch_of_text_has_every_window_once():
    ids = np.arange(5000, dtype=np.uint16)
    windows = epoch(batches_of(ids, "text", block_size=99))
    starts = np.sort(windows[:, 0])
    assert (np.diff(starts) == 99).all()  # consecutive: one id of overlap, read as a target once
    np.testing.assert_array_equal(
        windows - windows[:, :1], np.tile(np.arange(100), (len(starts), 1))
    )
    targets = windows[:, 1:].flatten()
    assert len(set(targets.tolist())) == len(targets) >= 5000 - 2 * 99


def test_text_of_exactly_one_window_trains():
    ids = np.arange(100, dtype=np.uint16)
    batches = batches_of(ids, "text", block_size=99)
    for step in range(3):
        np.testing.assert_array_equal(batches.ids_of(step)[0], ids)

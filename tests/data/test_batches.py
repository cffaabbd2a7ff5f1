"""The order in which data is read."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from jojo.data.batches import Batches
from tokenizer import ENDOFTEXT, IM_START


def test_less_data_than_a_block_is_an_error(complaint):
    ids = np.arange(100, dtype=np.uint16)
    message = complaint(Batches, ids, "text", block_size=100, batch_size=1, seed=0)
    assert "100" in message
    assert "`block_size`" in message
    Batches(ids, "text", block_size=99, batch_size=1, seed=0)  # just enough


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

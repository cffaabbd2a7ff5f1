"""Batches: a pure function of (seed, step, rank) and the token file, so resuming needs no state."""

from __future__ import annotations

import bisect
from functools import lru_cache

import numpy as np

from jojo.data.bins import conversation_starts
from jojo.text.template import NEWLINE, template_named
from tokenizer import IM_START

PACKING_BUFFER = 64  # conversations considered at once when packing a window


class Batches:
    """Batches of windows of `block_size` + 1 ids, a pure function of (seed, step, rank).

    Every epoch reads the data once in an order of its own. Text is cut into consecutive windows.
    Chats are packed: a window starts where a conversation starts and is filled with those of the
    next PACKING_BUFFER that fit best; only when none fits is one cut, and its rest, from its next
    turn on, fills another window (or, at the very end of an epoch, starts one). A conversation
    longer than a window is several units, each starting with a turn where it can.
    """

    def __init__(self, ids: np.ndarray, template: str, block_size: int, batch_size: int, seed: int):
        self.ids, self.template, self.batch_size, self.seed = ids, template, batch_size, seed
        self.window = block_size + 1
        if len(ids) < self.window:
            raise ValueError(
                f"the dataset has {len(ids):,} tokens, less than one block of {block_size} + 1: "
                "lower `block_size` or prepare more data"
            )
        self._starts = None
        if template_named(template).is_chat:
            self._turns = _turn_starts(ids, template)
            self._starts = _unit_starts(ids, self._turns, self.window)
        self._epoch_ends: list[int] = []  # windows in epochs 0..e together
        self._plan = lru_cache(maxsize=2)(self._make_plan)

    def windows_per_epoch(self) -> int:
        return len(self._plan(0))

    def ids_of(self, step: int, rank: int = 0, world_size: int = 1) -> np.ndarray:
        """The (batch_size / world_size, block_size + 1) int64 ids of this rank at this step."""
        assert self.batch_size % world_size == 0
        share = self.batch_size // world_size
        first = step * self.batch_size + rank * share
        return np.stack([self._window(i) for i in range(first, first + share)])

    def _window(self, index: int) -> np.ndarray:
        while not self._epoch_ends or index >= self._epoch_ends[-1]:
            before = self._epoch_ends[-1] if self._epoch_ends else 0
            self._epoch_ends.append(before + len(self._plan(len(self._epoch_ends))))
        epoch = bisect.bisect_right(self._epoch_ends, index)
        within = index - (self._epoch_ends[epoch - 1] if epoch else 0)
        pieces = self._plan(epoch)[within]
        return np.concatenate([self.ids[a:b] for a, b in pieces]).astype(np.int64)

    def _make_plan(self, epoch: int) -> list[tuple[tuple[int, int], ...]] | _Consecutive:
        random = np.random.default_rng([self.seed, epoch])
        if self._starts is None:
            return _Consecutive(len(self.ids), self.window, random)
        whole_turns = self.template != "chatml"  # there a unit without turns is of a document
        return _pack(self._starts, self._turns, len(self.ids), self.window, random, whole_turns)


class _Consecutive:
    """Windows of plain text: shifted by a random offset, then visited in random order."""

    def __init__(self, n_ids: int, window: int, random: np.random.Generator):
        # windows overlap by one id, so that every id but the first is a target once
        step = window - 1
        self.window, self.step = window, step
        self.offset = int(random.integers(0, min(step, n_ids - window) + 1))
        self.order = random.permutation((n_ids - self.offset - 1) // step)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[tuple[int, int], ...]:
        start = self.offset + int(self.order[index]) * self.step
        return ((start, start + self.window),)


def _turn_starts(ids: np.ndarray, template: str) -> np.ndarray:
    """Positions at which a turn begins (or, in the line templates, a line)."""
    if template == "chatml":
        return np.flatnonzero(ids == IM_START)
    return np.flatnonzero(ids == NEWLINE) + 1


def _unit_starts(ids: np.ndarray, turns: np.ndarray, window: int) -> np.ndarray:
    """Where units start: conversations, and turns at which a long conversation is cut."""
    bounds = conversation_starts(ids)
    starts, lengths = bounds[:-1], np.diff(bounds)
    extra: list[int] = []
    for start, length in zip(starts[lengths > window], lengths[lengths > window], strict=True):
        at, end = int(start), int(start + length)
        while end - at > window:
            last = int(np.searchsorted(turns, at + window, side="right")) - 1
            at = int(turns[last]) if last >= 0 and turns[last] > at else at + window
            extra.append(at)
    return np.union1d(starts, np.array(extra, dtype=np.int64)).astype(np.int64)


def _pack(
    starts: np.ndarray,
    turns: np.ndarray,
    n_ids: int,
    window: int,
    random: np.random.Generator,
    whole_turns: bool,
) -> list[tuple[tuple[int, int], ...]]:
    """Best-fit packing of units, in random order, into full windows.

    The rest of a unit that is cut begins with a turn; without `whole_turns` that of a unit in which
    no turn begins, begins where it was cut.
    """
    ends = np.append(starts[1:], n_ids)
    order = random.permutation(len(starts))
    units = zip((ends - starts)[order].tolist(), starts[order].tolist(), strict=True)
    buffer: list[tuple[int, int, bool]] = []  # (length, start, a whole unit), sorted
    windows: list[tuple[tuple[int, int], ...]] = []

    def first() -> tuple[int, int, bool] | None:
        if (unit := next(units, None)) is not None:
            return (*unit, True)
        left = [i for i, piece in enumerate(buffer) if piece[2]] or range(len(buffer))
        return buffer.pop(left[random.integers(len(left))]) if buffer else None

    while (piece := first()) is not None:
        pieces, room = [], window
        while piece is not None:
            length, start, _ = piece
            taken = min(length, room)
            pieces.append((start, start + taken))
            room -= taken
            if taken < length:  # what was cut off waits from its next turn on
                end = start + length
                any_turn, turn = np.searchsorted(turns, (start, start + taken)).tolist()
                if turn < len(turns) and (at := int(turns[turn])) < end:
                    bisect.insort(buffer, (end - at, at, False))
                elif any_turn == turn and not whole_turns:
                    bisect.insort(buffer, (end - start - taken, start + taken, False))
            if not room:
                windows.append(tuple(pieces))
                break
            while len(buffer) < PACKING_BUFFER and (unit := next(units, None)) is not None:
                bisect.insort(buffer, (*unit, True))
            fits = bisect.bisect_right(buffer, (room, n_ids, True)) - 1
            if fits < 0 and buffer:
                fits = int(random.integers(len(buffer)))
            piece = buffer.pop(fits) if buffer else None
    return windows or [((0, window),)]  # less than a window once packed: the file as it stands

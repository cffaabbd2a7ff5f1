"""Duplicates: verbatim ones in a stream, near ones among conversations held in memory.

A near copy shares most of its three-word runs with another conversation, so a dialogue contained
in a longer one is found too. Up to EXACT_WORDS the search finds every one. Above, MinHash
(rensa) names suspects, and each is compared for certain: it takes 0.6 KB a conversation besides the
texts and misses some, above all short ones contained in long ones. Measured on DailyDialog
(12,375 dialogues): exact 1.6 s, MinHash 0.9 s with 96.8% of the 844 near copies; on 200,000
conversations of 92 words: exact 85 s and 3.2 GB, MinHash 30 s, 0.2 GB, 96.0%.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import xxhash

RUN = 3  # words in a run
SHARED = 0.8  # of the shorter one's runs; a Jaccard similarity of 0.7 implies 0.82
WORD = re.compile(r"\w+")
EXACT_WORDS = 4_000_000  # searched exactly: about 10 s and 0.7 GB; a book shelf of chats is less
# 32 bands of 4: a pair with Jaccard similarity s shares a band with probability 1 - (1 - s^4)^32,
# which is 0.999 for the 0.67 that two copies of one length have at least.
BANDS, ROWS, SEED = 32, 4, 1
# Of those with a band in common each is compared with the first 16 that stay. Where more than 256
# have it, it is a template phrase that says little: then only with the first one.
BUCKET, LARGE_BUCKET = 16, 256
CHUNK = 2_000  # conversations signed at once
REMEMBERED = 50_000  # sets of runs


def fingerprint(texts: Sequence[str]) -> int:
    """64 bits that identify these texts, the same on every machine."""
    return xxhash.xxh3_64_intdigest("\x1f".join(texts).encode())


def fingerprints(texts: Sequence[str]) -> np.ndarray:
    """The fingerprint of each text alone, uint64."""
    digest = xxhash.xxh3_64_intdigest
    return np.array([digest(text.encode()) for text in texts], dtype=np.uint64)


def copies(
    conversations: Sequence[Sequence[str]], keep_first: Sequence[bool] | None = None
) -> dict[int, tuple[int, str]]:
    """For each copy: the index of the conversation that stays, and in which way it is a copy.

    Of several copies the longest stays, among equals the first. Those marked in `keep_first`
    are only copies of one another: what resembles one of them goes, however long.
    """
    marked = keep_first or [False] * len(conversations)
    sizes, keys = [], []
    for turns in conversations:
        words = words_of(turns)
        sizes.append(len(words))
        keys.append(fingerprint(words))
    first: dict[int, int] = {}
    found: dict[int, tuple[int, str]] = {}
    order = sorted(range(len(keys)), key=lambda i: (not marked[i], -sizes[i], i))
    for i in order:
        if (original := first.setdefault(keys[i], i)) != i:
            found[i] = (original, "exact duplicate")
    left = [i for i in order if i not in found]  # the one to keep before the one to drop
    few = sum(sizes[i] for i in left) <= EXACT_WORDS
    near = _near_exactly if few else _near_by_minhash
    for i, original in near([conversations[i] for i in left], left).items():
        found[i] = (original, "near duplicate")
    return found


def words_of(turns: Sequence[str]) -> list[str]:
    return WORD.findall(" ".join(turns).lower())


def _near_exactly(texts: list[Sequence[str]], names: list[int]) -> dict[int, int]:
    """Name of each near copy -> name of what it is a copy of. `texts`: first those to keep."""
    sizes, runs = _runs([words_of(turns) for turns in texts])
    kept = _Kept(sizes, runs)
    found = {}
    for i in range(len(texts)):
        if near := kept.resembling(i):
            found[names[i]] = min(names[j] for j in near)
        else:
            kept.add(i)
    return found


def _near_by_minhash(texts: list[Sequence[str]], names: list[int]) -> dict[int, int]:
    """The same, where MinHash names suspects; these are then compared for certain."""
    hashes = _RunHashes()

    @lru_cache(REMEMBERED)
    def runs(i: int) -> np.ndarray:
        return np.unique(hashes([texts[i]])[0])

    kept = _Buckets(_bands(texts, hashes))
    found = {}
    for i in kept.in_company:
        mine, n = set(runs(i).tolist()), len(runs(i))
        near = [
            j
            for j in kept.suspects(i)
            if len(mine.intersection(runs(j).tolist())) >= _needed(n, len(runs(j)))
        ]
        if near:
            found[names[i]] = min(names[j] for j in near)
        else:
            kept.add(i)
    return found


class _Buckets:
    """The conversations that stay, found again by the bands they share: 10 bytes a band each."""

    def __init__(self, bands: np.ndarray):
        n = len(bands)
        self._bands = np.arange(BANDS)
        self._start = np.zeros((n, BANDS), dtype=np.int32)  # whose bucket it is, by its place
        self._room = np.ones((n, BANDS), dtype=np.int8)  # how many of a bucket are compared
        self._held = np.zeros((BANDS, n), dtype=np.int8)  # at a bucket's start: how many it has
        self._who = np.zeros((BANDS, n), dtype=np.int32)  # from there on: which
        in_company = np.zeros(n, dtype=bool)
        for k, band in enumerate(bands.T):
            order = np.argsort(band, kind="stable")
            opens = np.ones(n, dtype=bool)
            opens[1:] = band[order[1:]] != band[order[:-1]]
            start = np.maximum.accumulate(np.where(opens, np.arange(n), 0))
            size = np.bincount(start, minlength=n)[start]
            self._start[order, k] = start
            room = np.where(size > LARGE_BUCKET, 1, np.minimum(size - 1, BUCKET))
            self._room[order, k] = room
            in_company[order[size > 1]] = True
        self.in_company = np.flatnonzero(in_company).tolist()

    def suspects(self, i: int) -> list[int]:
        start = self._start[i]
        held = np.minimum(self._held[self._bands, start], self._room[i])
        band = np.flatnonzero(held)
        if not len(band):
            return []
        nth = np.arange(BUCKET)
        has = nth < held[band, None]
        at = (start[band, None] + nth)[has]
        return np.unique(self._who[np.repeat(band, held[band]), at]).tolist()

    def add(self, i: int) -> None:
        start = self._start[i]
        held = self._held[self._bands, start]
        band = np.flatnonzero(held < self._room[i])
        self._who[band, start[band] + held[band]] = i
        self._held[band, start[band]] += 1


class _RunHashes:
    """Runs of words as uint64: words are numbered as they come, and a run's numbers mixed."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = defaultdict()
        self.numbers.default_factory = self.numbers.__len__

    def __call__(self, texts: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """(the hashes of all runs of all texts, where each text's end)."""
        words: list[str] = []
        ends = []
        for turns in texts:
            found = words_of(turns)
            words += found + [""] * (RUN - len(found))
            ends.append(len(words))
        word = np.fromiter(map(self.numbers.__getitem__, words), np.uint64, len(words))
        hashes = np.zeros(len(words), dtype=np.uint64)
        for k in range(RUN):
            hashes = _mixed(hashes ^ np.roll(word, -k))
        inside = np.ones(len(words), dtype=bool)
        for k in range(1, RUN):  # a run must not cross into the next text
            inside[np.array(ends) - k] = False
        return hashes[inside], np.array(ends) - (RUN - 1) * np.arange(1, len(ends) + 1)


def _mixed(x: np.ndarray) -> np.ndarray:
    x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return x ^ (x >> np.uint64(29))


def _bands(texts: list[Sequence[str]], hashes: _RunHashes) -> np.ndarray:
    """(conversations, BANDS) uint64: those with one of them in common may well be alike."""
    from rensa import RMinHash

    bands = np.zeros((len(texts), BANDS), dtype=np.uint64)
    for at in range(0, len(texts), CHUNK):
        runs, ends = hashes(texts[at : at + CHUNK])
        bounds = np.append(0, ends).astype(np.uint64)
        signed = RMinHash.digest_matrix_from_flat_token_hashes(runs, bounds, BANDS * ROWS, SEED)
        rows = np.array(signed.to_rows(), dtype=np.uint64).reshape(-1, BANDS, ROWS)
        for k in range(ROWS):
            bands[at : at + CHUNK] = _mixed(bands[at : at + CHUNK] ^ rows[:, :, k])
    return bands


class _Kept:
    """The conversations that stay, found again by the runs they share with another."""

    def __init__(self, sizes: list[int], runs: list[list[int]]):
        self.sizes, self.runs = sizes, runs
        self.holding: dict[int, list[int]] = defaultdict(list)  # run -> who has it
        self.telling: dict[int, list[int]] = defaultdict(list)  # run -> whom it gives away

    def _rarest(self, i: int) -> list[int]:
        return self.runs[i][: _n_telling(self.sizes[i], len(self.runs[i]))]

    def add(self, i: int) -> None:
        for run in self.runs[i]:
            self.holding[run].append(i)
        for run in self._rarest(i):
            self.telling[run].append(i)

    def resembling(self, i: int) -> list[int]:
        """The kept conversations of which i is a near copy, or which are one of i."""
        suspects = {j for run in self._rarest(i) for j in self.holding.get(run, ())}
        suspects.update(j for run in self.runs[i] for j in self.telling.get(run, ()))
        mine = set(self.runs[i])
        return [
            j
            for j in suspects
            if len(mine.intersection(self.runs[j])) >= _needed(self.sizes[i], self.sizes[j])
        ]


def _needed(*sizes: int) -> int:
    """How many runs two conversations of these sizes share at least, if one is a copy."""
    return math.ceil(SHARED * min(sizes))


def _n_telling(size: int, n_common: int) -> int:
    """How many of a conversation's common runs, rarest first, a copy cannot all avoid.

    A copy may lack size - needed of the runs; any one more of them gives it away. (The prefix
    filter of Bayardo, Ma and Srikant 2007, https://doi.org/10.1145/1242572.1242591)
    """
    return max(0, size - _needed(size) + 1 - (size - n_common))


def _runs(words: list[list[str]]) -> tuple[list[int], list[list[int]]]:
    """Of each conversation: how many distinct runs it has, and those that others have too.

    Runs are numbered, and listed from the rarest to the most common.
    """
    padded = [w + [""] * (RUN - len(w)) for w in words]
    vocabulary: dict[str, int] = {}
    ids = [vocabulary.setdefault(word, len(vocabulary)) for w in padded for word in w]
    word = np.array(ids, dtype=np.int64)
    owner = np.repeat(np.arange(len(words)), [len(w) for w in padded])
    key = np.zeros(max(0, len(word) - RUN + 1), dtype=np.int64)
    for k in range(RUN):
        key = key * len(vocabulary) + word[k : len(word) - RUN + 1 + k]
    inside = owner[: len(key)] == owner[RUN - 1 :]  # the run does not cross into the next one
    distinct, key = np.unique(key[inside], return_inverse=True)
    pair = np.sort(owner[: len(inside)][inside] * len(distinct) + key)
    pair = pair[np.diff(pair, prepend=-1) > 0]  # np.unique takes ten times as long
    owner, key = np.divmod(pair, max(1, len(distinct)))
    rarity = np.bincount(key)[key]
    sizes = np.bincount(owner, minlength=len(words)).tolist()
    common = np.flatnonzero(rarity > 1)
    order = common[np.lexsort((key[common], rarity[common], owner[common]))]
    ends = np.cumsum(np.bincount(owner[order], minlength=len(words)))
    return sizes, [part.tolist() for part in np.split(key[order], ends[:-1])]


class Seen:
    """A set of fingerprints, 8 bytes each, so that millions of documents fit."""

    def __init__(self) -> None:
        self._sorted: list[np.ndarray] = []  # each more than twice as long as the next

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Add `keys` (uint64); returns which keys are new (bool)."""
        new = np.zeros(len(keys), dtype=bool)
        new[np.unique(keys, return_index=True)[1]] = True
        for known in self._sorted:
            at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
            new &= known[at] != keys
        added = np.sort(keys[new])
        while self._sorted and len(self._sorted[-1]) <= 2 * len(added):
            added = np.sort(np.concatenate([self._sorted.pop(), added]))
        if len(added):
            self._sorted.append(added)
        return new

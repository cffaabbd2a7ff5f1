"""Which split a text, or a group of them, goes to: a pure function of the text and the seed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jojo.data.contract import SPLITS
from jojo.data.dedup import fingerprint


def split_of(key: int, seed: int, val_fraction: float) -> str:
    """ "train" or "val" for the text with this fingerprint; more data never moves a text."""
    draw = draws(np.array([key], dtype=np.uint64), seed)[0]
    return "val" if draw < val_fraction else "train"


def draws(fingerprints: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each fingerprint (uint64): by SplitMix64 (Steele et al. 2014,
    https://doi.org/10.1145/2714064.2660195), started from the fingerprint and the seed."""
    x = fingerprints + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53


def splits_of(
    groups: Iterable[str], seed: int, val_fraction: float, both: bool = True
) -> dict[str, str]:
    """ "train" or "val" by group, a pure function of name and seed.

    `both`: if chance gives all of a few groups to one split, one of them is moved to the other.
    """
    splits = {g: split_of(fingerprint([g]), seed, val_fraction) for g in groups}
    if both and len(splits) > 1 and len(set(splits.values())) == 1:
        moved = min(splits, key=lambda g: fingerprint([g]))
        splits[moved] = other_split(splits[moved])
    return splits


def other_split(split: str) -> str:
    return SPLITS[split == SPLITS[0]]

"""The shapes of models that tests go through, as changes to the tiny one of conftest.py."""

import pytest

TINY = {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_inner": 48, "block_size": 64}
SHAPES = {
    "jojo": {},
    "jojo, tied": {"tie_embeddings": True},
    "jojo, grouped": {"n_kv_head": 2},
    "gpt2": {"arch": "gpt2"},
    "gpt2, untied": {"arch": "gpt2", "tie_embeddings": False},
}
GGUF_SHAPES = {
    "jojo": {},
    "jojo, tied": {"tie_embeddings": True},
    "jojo, grouped": {"n_kv_head": 2, "head_dim": 12, "rope_theta": 5e5, "norm_eps": 1e-5},
    "gpt2": {"arch": "gpt2"},
    "gpt2, untied": {"arch": "gpt2", "tie_embeddings": False, "n_inner": 64},
}


def slow_after(quick: int, cases) -> list:
    """The cases of a parametrized test: the quick round runs the first, CI all."""
    cases = list(cases)
    return cases[:quick] + [pytest.param(case, marks=pytest.mark.slow) for case in cases[quick:]]

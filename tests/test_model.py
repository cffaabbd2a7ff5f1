"""model.py: the logits of transformers, the same with a cache as without, sizes and bad shapes."""

from __future__ import annotations

import re

import pytest
import torch

from jojo.export.hf_folder import as_transformers
from jojo.files import ROOT
from model import GPT, PRESETS, GPTConfig, KVCache

SHAPES = {
    "jojo": {"arch": "jojo"},
    "jojo, tied": {"arch": "jojo", "tie_embeddings": True},
    "jojo, grouped": {"arch": "jojo", "n_kv_head": 2},
    "jojo, one key-value head": {"arch": "jojo", "n_kv_head": 1},
    "jojo, wide heads": {"arch": "jojo", "n_kv_head": 2, "head_dim": 12},
    "jojo, another theta": {"arch": "jojo", "rope_theta": 1e6, "norm_eps": 1e-5},
    "gpt2": {"arch": "gpt2"},
    "gpt2, untied": {"arch": "gpt2", "tie_embeddings": False},
    "gpt2, exact GELU": {"arch": "gpt2", "gelu": "exact"},
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def random_ids(batch: int = 2, length: int = 24, vocab: int = 211, seed: int = 0):
    return torch.randint(vocab, (batch, length), generator=torch.Generator().manual_seed(seed))


# transformers


@every_shape
@torch.inference_mode()
def test_logits_equal_transformers(shape, tiny_model):
    model = tiny_model(vocab_size=211, **shape)
    ids = random_ids()
    expected = as_transformers(model)(ids).logits
    assert expected.std() > 0.1  # the comparison is of something
    torch.testing.assert_close(model(ids), expected, atol=1e-4, rtol=0)


# the cache


@every_shape
@torch.inference_mode()
def test_one_by_one_with_a_cache_equals_all_at_once(shape, tiny_model):
    model, ids = tiny_model(vocab_size=211, **shape), random_ids()
    cache = KVCache(model.config, 2, ids.size(1))
    steps = [model(ids[:, t : t + 1], cache) for t in range(ids.size(1))]
    assert cache.length == ids.size(1)
    torch.testing.assert_close(torch.cat(steps, dim=1), model(ids), atol=1e-5, rtol=0)


@every_shape
@pytest.mark.parametrize("chunks", [(24,), (10, 14), (1, 7, 1, 15), (20, 1, 3)], ids=str)
@torch.inference_mode()
def test_a_prompt_in_chunks_equals_all_at_once(shape, chunks, tiny_model):
    model, ids = tiny_model(vocab_size=211, **shape), random_ids()
    cache = KVCache(model.config, 2, model.config.block_size)
    parts = [model(part, cache) for part in ids.split(chunks, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_cache_that_is_set_back_forgets(tiny_model):
    model, ids = tiny_model(vocab_size=211), random_ids()
    cache = KVCache(model.config, 2, model.config.block_size)
    model(ids[:, :15], cache)
    cache.length = 10
    model(random_ids(seed=1)[:, :5], cache)
    cache.length = 10
    torch.testing.assert_close(model(ids[:, 10:], cache), model(ids)[:, 10:], atol=1e-5, rtol=0)


@every_shape
@torch.inference_mode()
def test_the_last_position_alone(shape, tiny_model):
    model, ids = tiny_model(vocab_size=211, **shape), random_ids()
    last = model(ids, last=True)
    assert last.shape == (2, 1, 211)
    torch.testing.assert_close(last, model(ids)[:, -1:])


@every_shape
@torch.inference_mode()
def test_a_position_does_not_see_what_follows(shape, tiny_model):
    model, ids = tiny_model(vocab_size=211, **shape), random_ids()
    changed = ids.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % 211
    torch.testing.assert_close(model(ids)[:, :12], model(changed)[:, :12])


@pytest.mark.parametrize("arch", ["jojo", "gpt2"])
def test_more_tokens_than_the_context_are_an_error(arch, tiny_model, complaint):
    model = tiny_model(arch=arch, vocab_size=211, block_size=16)
    assert model(random_ids(1, 16)).shape == (1, 16, 211)
    message = complaint(model, random_ids(1, 17))
    assert "17" in message
    assert "16" in message
    cache = KVCache(model.config, 1, 16)
    model(random_ids(1, 10), cache)
    assert "17" in complaint(model, random_ids(1, 7), cache)


# sizes


def on_meta(**settings) -> GPT:
    with torch.device("meta"):
        return GPT(GPTConfig(**settings))


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("gpt2", 124_439_808),
        ("medium", 354_823_168),
        ("large", 774_030_080),
        ("xl", 1_557_611_200),
    ],
)
def test_gpt2_sizes_are_the_published_ones(preset, count):
    assert on_meta(arch="gpt2", vocab_size=50257, **PRESETS[preset]).n_params() == count


def test_the_docs_state_the_sizes_of_the_presets():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`.*\| ([\d.]+) M \| ([\d.]+) M \|$", page, re.MULTILINE)
    assert [name for name, *_ in rows] == list(PRESETS)
    for name, *sizes in rows:
        counts = [on_meta(arch=arch, **PRESETS[name]).n_params() for arch in ("jojo", "gpt2")]
        assert sizes == [f"{n / 1e6:.1f}" for n in counts]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("arch", ["jojo", "gpt2"])
def test_every_preset_builds_in_both_architectures(preset, arch):
    model = on_meta(arch=arch, **PRESETS[preset])
    assert model.config.vocab_size == 50304
    assert model.n_params() > 0


def test_presets_grow():
    counts = [on_meta(**settings).n_params() for settings in PRESETS.values()]
    assert list(PRESETS) == ["tiny", "small", "gpt2", "medium", "large", "xl"]
    assert counts == sorted(counts)


def test_a_tied_head_is_counted_once(tiny_model):
    tied, untied = tiny_model(tie_embeddings=True), tiny_model(tie_embeddings=False)
    assert tied.lm_head.weight is tied.wte.weight
    assert untied.n_params() - tied.n_params() == untied.wte.weight.numel()


def test_flops_are_six_a_weight_and_the_attention(tiny_model):
    model = tiny_model(vocab_size=211)
    blocks = sum(p.numel() for p in model.h.parameters() if p.dim() > 1)
    c = model.config
    attention = 12 * c.n_layer * c.n_embd * c.block_size
    flops = model.train_flops_per_token(211, c.block_size)
    assert flops == 6 * (blocks + 211 * c.n_embd) + attention
    assert model.train_flops_per_token(11, c.block_size) < flops
    model.requires_grad_(False)
    assert model.train_flops_per_token(211, c.block_size) == flops - 2 * (blocks + 211 * c.n_embd)


def test_a_new_jojo_model_knows_nothing():
    model = GPT(GPTConfig(n_layer=1, n_head=2, n_embd=32, block_size=16, vocab_size=211))
    assert (model(random_ids(1, 16)) == 0).all()  # every token equally likely


# the config


def test_zeros_are_derived_from_the_rest():
    jojo = GPTConfig(n_embd=256, n_head=4)
    assert (jojo.head_dim, jojo.n_kv_head, jojo.n_inner) == (64, 4, 704)
    assert (jojo.tie_embeddings, jojo.norm_eps) == (False, 1e-6)
    gpt2 = GPTConfig(arch="gpt2")
    assert (gpt2.head_dim, gpt2.n_inner, gpt2.tie_embeddings) == (64, 3072, True)
    assert gpt2.norm_eps == 1e-5


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"arch": "llama"}, "llama"),
        ({"n_embd": 100, "n_head": 12}, "n_head"),
        ({"n_head": 12, "n_kv_head": 5}, "n_kv_head"),
        ({"n_head": 0}, "n_head"),
        ({"n_embd": 36, "n_head": 12}, "head_dim"),
        ({"arch": "gpt2", "n_kv_head": 4}, "n_kv_head"),
        ({"arch": "gpt2", "head_dim": 32}, "head_dim"),
        ({"n_layer": 0}, "n_layer"),
        ({"n_layer": -1}, "n_layer"),
        ({"n_embd": 0}, "n_embd"),
        ({"n_head": -4}, "n_head"),
        ({"block_size": 0}, "block_size"),
        ({"vocab_size": 0}, "vocab_size"),
        ({"n_inner": -64}, "n_inner"),
        ({"dropout": 1.5}, "dropout"),
        ({"arch": "gpt2", "gelu": "relu"}, "tanh, exact"),
        ({"gelu": "exact"}, "arch jojo has no GELU"),
    ],
    ids=str,
)
def test_a_shape_that_cannot_be_is_an_error(settings, named, complaint):
    assert named in complaint(GPTConfig, **settings)

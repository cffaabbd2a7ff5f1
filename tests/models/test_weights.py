"""Rows added to a vocabulary, and the fingerprint of weights."""

from __future__ import annotations

import shutil

import pytest
import torch
from hf_folders import edit_weights, same

from jojo.export import hf_folder
from jojo.export.hf_folder import save_folder
from jojo.models import checkpoint, pretrained, weights
from tokenizer import IM_END, N_TOKENS


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_the_mean_of_the_old_ones(tied, tiny_model, tmp_path):
    small = tiny_model(arch="gpt2", vocab_size=50257, tie_embeddings=tied)
    save_folder(small, tmp_path / "small", "text")
    model = pretrained.open_base(tmp_path / "small").model
    assert model.config.vocab_size == 50304
    assert (model.lm_head.weight is model.wte.weight) is tied
    for old, new in ((small.wte, model.wte), (small.lm_head, model.lm_head)):
        assert new.weight.shape == (50304, 32)
        assert torch.equal(new.weight[:50257], old.weight)
        away = new.weight[50257:] - old.weight.mean(0)
        assert 0 < away.abs().max() < 0.1 * old.weight.std()
        assert len(new.weight[50257:].unique(dim=0)) == 47
    again = pretrained.open_base(tmp_path / "small").model
    assert same(model, again)


@torch.inference_mode()
def test_new_rows_take_no_probability(tiny_model):
    model = tiny_model(arch="gpt2", vocab_size=50257)
    model.ln_f.bias.fill_(2.0)
    model.wte.weight -= 1.0  # as in GPT-2, every logit lies far below 0
    ids = torch.randint(50257, (1, 40), generator=torch.Generator().manual_seed(0))
    assert model(ids).max() < -10
    weights.grow(model)
    probabilities = model(ids).softmax(-1)
    assert probabilities[..., 50257:].sum(-1).max() < 47 / 50257 * 1.5
    model.wte.weight[50257:] = 0
    assert model(ids).softmax(-1)[..., 50257:].sum(-1).min() > 0.99  # what zeros would do


def test_a_grown_model_learns_and_is_saved_as_any_other(folder, tmp_path):
    base = pretrained.open_base(folder)
    assert all(p.requires_grad for p in base.model.parameters())
    assert not base.model.training
    base.model(torch.tensor([[IM_END, N_TOKENS - 1]])).sum().backward()
    checkpoint.save(tmp_path / "a.pt", checkpoint.model_content(base.model, template="chatml"))
    again, facts = pretrained.load_model(tmp_path / "a.pt")
    assert same(again, base.model)
    assert facts["template"] == "chatml"


def test_a_whole_vocabulary_stays_as_it_is(tiny_model, plain):
    base = pretrained.open_base(plain)
    assert same(base.model, tiny_model())
    assert (base.facts["step"], base.facts["dataset"]) == (3, "tiny")
    assert base.source == str(plain)


def test_a_checkpoint_with_a_vocabulary_of_its_own_stays_as_it_is(tiny_model, tmp_path):
    content = checkpoint.model_content(tiny_model(vocab_size=211), template="chatml")
    checkpoint.save(tmp_path / "a.pt", content)
    assert pretrained.open_base(tmp_path / "a.pt").model.config.vocab_size == 211


def test_the_hash_is_of_the_weights_alone(folder, tiny_model, tmp_path, monkeypatch):
    first = pretrained.open_base(folder)
    monkeypatch.setattr(hf_folder, "MAX_SHARD_BYTES", 1000)
    small = tiny_model(arch="gpt2", vocab_size=50257)
    save_folder(small, tmp_path / "shards", "chatml")
    assert pretrained.open_base(tmp_path / "shards").hash == first.hash
    small.ln_f.bias.data[3] += 1e-6
    save_folder(small, tmp_path / "other", "text")
    assert pretrained.open_base(tmp_path / "other").hash != first.hash


def test_a_checkpoint_and_its_folder_have_one_hash(tiny_model, saved_folder, tmp_path):
    content = checkpoint.model_content(tiny_model(), template="chatml")
    checkpoint.save(tmp_path / "a.pt", content)
    folder = saved_folder()
    first, second = pretrained.open_base(tmp_path / "a.pt"), pretrained.open_base(folder)
    assert first.hash == second.hash
    shutil.copytree(folder, tmp_path / "copy")
    edit_weights(tmp_path / "copy", lambda t: t["model.norm.weight"].add_(1e-6))
    assert pretrained.open_base(tmp_path / "copy").hash != first.hash

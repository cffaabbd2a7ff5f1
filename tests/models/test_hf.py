"""The weights of Hugging Face folders: the logits of transformers, clear refusals."""

from __future__ import annotations

import sys

import pytest
import torch
from hf_folders import edit, edit_weights, opened_by_transformers, random_ids, read_state

from jojo.export.hf_folder import save_folder
from jojo.models import hf, pretrained
from model import GPT

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}

GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}

QWEN3 = {
    **TINY,
    "intermediate_size": 48,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "max_position_embeddings": 64,
}

THEIRS = {
    "gpt2": ("gpt2", GPT2),
    "gpt2, untied": ("gpt2", {**GPT2, "tie_word_embeddings": False}),
    "gpt2, inner": ("gpt2", {**GPT2, "n_inner": 40, "activation_function": "gelu_pytorch_tanh"}),
    "qwen3": ("qwen3", QWEN3),
    "qwen3, tied": ("qwen3", {**QWEN3, "tie_word_embeddings": True}),
    "qwen3, grouped": ("qwen3", {**QWEN3, "num_key_value_heads": 2, "head_dim": 12}),
    "qwen3, theta": ("qwen3", {**QWEN3, "rope_theta": 1e6, "rms_norm_eps": 1e-5}),
}


def theirs_of(model_type: str, settings: dict, vocab_size: int):
    """A random model of transformers, its weights large enough for logits that differ."""
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, vocab_size=vocab_size, **settings)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return model


# theirs, here


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("vocab_size", [50257, 50259, 50304])
@pytest.mark.parametrize("kind", THEIRS)
@torch.inference_mode()
def test_a_model_of_transformers_has_the_same_logits_here(kind, vocab_size, dtype, tmp_path):
    theirs_of(*THEIRS[kind], vocab_size).to(dtype).save_pretrained(tmp_path)
    model, facts = pretrained.load_model(tmp_path)
    expected = opened_by_transformers(tmp_path)(random_ids()).logits[..., :50257]
    assert facts["template"] == "text"
    assert model.config.vocab_size == 50304
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert expected.std() > 0.1  # the comparison is of something
    torch.testing.assert_close(model(random_ids())[..., :50257], expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_the_layout_of_the_hubs_gpt2(tmp_path):
    theirs = theirs_of("gpt2", GPT2, 50257)
    theirs.transformer.save_pretrained(tmp_path)  # names without "transformer."
    edit(tmp_path, n_ctx=64, architectures=["GPT2LMHeadModel"], task_specific_params={"a": 1})

    def add_masks(tensors):
        tensors["h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
        tensors["h.1.attn.masked_bias"] = torch.tensor(-1e4)
        assert "wte.weight" in tensors

    edit_weights(tmp_path, add_masks)
    model, _ = pretrained.load_model(tmp_path)
    expected = theirs(random_ids()).logits
    torch.testing.assert_close(model(random_ids())[..., :50257], expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_weights_in_several_files(tmp_path):
    theirs = theirs_of("qwen3", QWEN3, 50257)
    theirs.save_pretrained(tmp_path, max_shard_size="5MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    state = read_state(tmp_path)
    assert state["wte.weight"].shape == (50257, 32)
    model, _ = pretrained.load_model(tmp_path)
    expected = theirs(random_ids()).logits
    torch.testing.assert_close(model(random_ids())[..., :50257], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["gpt2", "qwen3, grouped"])
def test_from_transformers_trained_here_and_back(kind, tmp_path):
    theirs_of(*THEIRS[kind], 50257).save_pretrained(tmp_path / "before")
    model = pretrained.open_base(tmp_path / "before").model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ids = random_ids(50259)
    torch.nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    optimizer.step()
    save_folder(model, tmp_path / "after", "chatml")
    with torch.inference_mode():
        logits = opened_by_transformers(tmp_path / "after")(ids).logits
        torch.testing.assert_close(logits, model(ids), atol=1e-4, rtol=0)
        before = pretrained.load_model(tmp_path / "before")[0](ids)
    assert (logits - before).abs().max() > 1e-3


def test_a_head_saved_beside_the_embedding_it_is_tied_to(saved_folder, complaint):
    folder = saved_folder(arch="gpt2")

    def add_head(tensors):
        tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()

    edit_weights(folder, add_head)
    before = read_state(folder)
    assert "lm_head.weight" not in before

    def spoil(tensors):
        tensors["lm_head.weight"][7] += 1

    edit_weights(folder, spoil)
    assert "tie_word_embeddings" in complaint(read_state, folder)
    edit(folder, tie_word_embeddings=False)
    assert not torch.equal(read_state(folder)["lm_head.weight"], before["wte.weight"])


def test_damaged_weights(saved_folder, complaint):
    folder = saved_folder()
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for part in (b"", whole[:100], whole[:-5], b"\xff" * 64):
        path.write_bytes(part)
        assert "truncated" in complaint(read_state, folder)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n")
    assert "git lfs pull" in complaint(read_state, folder)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.pop("model.norm.weight"), "lack model.norm.weight"),
        (lambda t: t.pop("lm_head.weight"), "lack lm_head.weight"),
        (lambda t: t.update(score=torch.zeros(2)), "score"),
        (
            lambda t: t.update({"model.norm.weight": torch.zeros(31)}),
            "model.norm.weight is (31,), by config.json it is (32,)",
        ),
        (
            lambda t: t.update({"model.norm.weight": torch.zeros(32, dtype=torch.int8)}),
            "model.norm.weight holds I8",
        ),
        (
            lambda t: t.update({"model.layers.2.mlp.up_proj.weight": torch.zeros(48, 32)}),
            "3 layers, config.json says 2",
        ),
        (lambda t: t.clear() or t.update(x=torch.zeros(1)), "0 layers, config.json says 2"),
    ],
    ids=range(7),
)
def test_tensors_that_do_not_fit(change, named, saved_folder, complaint):
    folder = saved_folder()
    edit_weights(folder, change)
    assert named in complaint(read_state, folder)
    assert named in complaint(pretrained.load_model, folder)


def test_a_template_that_nobody_knows(saved_folder, complaint):
    folder = saved_folder()
    edit(folder, jojo={"template": "klingon"})
    assert "klingon" in complaint(hf.facts, folder)
    edit(folder, jojo="x")
    assert hf.facts(folder) == {"template": "text"}


def test_reading_needs_no_transformers(saved_folder, monkeypatch):
    folder = saved_folder()
    monkeypatch.setitem(sys.modules, "transformers", None)
    model, _ = pretrained.load_model(folder)
    assert isinstance(model, GPT)

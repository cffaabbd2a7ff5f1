"""config.json: what is read, and what our model does not have, by name."""

from __future__ import annotations

import pytest
from hf_folders import edit

from jojo.models import hf_config


def test_other_kinds_of_model_are_named(saved_folder, complaint):
    folder = saved_folder()
    edit(folder, model_type="llama")
    message = complaint(hf_config.read_config, folder)
    assert "'llama'" in message
    assert "gpt2 and qwen3" in message
    edit(folder, model_type=None)
    assert "None" in complaint(hf_config.read_config, folder)


@pytest.mark.parametrize(
    ("arch", "changes", "named"),
    [
        ("gpt2", {"activation_function": "relu"}, "activation_function is 'relu'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
        ("gpt2", {"pruned_heads": {"0": [1]}}, "pruned_heads"),
        ("gpt2", {"n_layer": "2"}, "n_layer is '2'"),
        ("gpt2", {"n_embd": None}, "n_embd is missing"),
        ("gpt2", {"n_head": 5}, "n_head 5"),
        ("gpt2", {"n_positions": -1}, "n_positions is -1"),
        ("gpt2", {"vocab_size": True}, "vocab_size is True"),
        ("gpt2", {"n_embd": 10**15}, "n_embd"),
        ("jojo", {"attention_bias": True}, "attention_bias"),
        ("jojo", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        (
            "jojo",
            {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1},
            "use_sliding_window",
        ),
        ("jojo", {"layer_types": ["full_attention", "sliding_attention"]}, "use_sliding_window"),
        ("jojo", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "'yarn'"),
        (
            "jojo",
            {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}},
            "'linear'",
        ),
        ("jojo", {"rope_parameters": {"rope_theta": "many"}}, "rope_theta"),
        ("jojo", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ("jojo", {"rope_parameters": [1]}, "rope_parameters"),
        ("jojo", {"quantization_config": {"bits": 4}}, "quantized"),
        ("jojo", {"head_dim": 7}, "head_dim 7"),
        ("jojo", {"num_key_value_heads": 3}, "n_kv_head 3"),
    ],
    ids=str,
)
def test_options_that_our_model_does_not_have_are_named(
    arch, changes, named, saved_folder, complaint
):
    folder = saved_folder(arch=arch)
    edit(folder, **changes)
    message = complaint(hf_config.read_config, folder)
    assert named in message
    assert "config.json" in message


def test_options_that_change_nothing_are_no_reason_to_refuse(saved_folder, tiny_config):
    folder = saved_folder()
    edit(folder, use_sliding_window=True, sliding_window=32, max_window_layers=2)
    assert hf_config.read_config(folder) == tiny_config()
    edit(folder, rope_parameters=None, rope_scaling=None, rope_theta=5000)
    assert hf_config.read_config(folder).rope_theta == 5000


@pytest.mark.parametrize("text", ["", "{", "[1]", "\xff", '"x"', "[" * 100_000], ids=repr)
def test_a_damaged_config_is_one_line(text, saved_folder, complaint):
    folder = saved_folder()
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    assert "copy it again" in complaint(hf_config.read_config, folder)


def test_folders_that_are_no_model(tmp_path, complaint):
    assert "not a Hugging Face model: give the folder" in complaint(hf_config.read_config, tmp_path)
    assert "is not a folder" in complaint(hf_config.read_config, tmp_path / "none")
    (tmp_path / "chat800.pt").write_text("")
    assert "did you mean" in complaint(hf_config.read_config, tmp_path)
    assert "chat800.pt" in complaint(hf_config.read_config, tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "merge_and_unload" in complaint(hf_config.read_config, tmp_path)

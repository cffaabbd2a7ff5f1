"""Models of the hub: fetched once, and refused in one line."""

from __future__ import annotations

import json
import os
import shutil

import huggingface_hub
import pytest
from hf_folders import cache_of, read_state, same
from huggingface_hub import constants, errors

from jojo.models import hub, pretrained
from jojo.models.hub import INDEX

GPT2 = "openai-community/gpt2"


def test_a_model_is_fetched_once_and_never_pickled(answering, capsys):
    base = pretrained.open_base("gpt2-small (124M)")
    assert base.source == GPT2
    assert base.facts["template"] == "text"
    assert "downloading openai-community/gpt2" in capsys.readouterr().err
    ((hub_id, allowed, ignored),) = answering.requests
    assert hub_id == GPT2
    wanted = huggingface_hub.utils.filter_repo_objects(
        [
            *("config.json", "model.safetensors", "model-00001-of-00002.safetensors"),
            *("model.safetensors.index.json", "tokenizer.json", "vocab.json", "README.md"),
            *("pytorch_model.bin", "onnx/decoder_model.onnx", "onnx/config.json", "merges.txt"),
            *("rust_model.ot", "tf_model.h5", "flax_model.msgpack", "tokenizer_config.json"),
        ],
        allow_patterns=allowed,
        ignore_patterns=ignored,
    )
    assert list(wanted) == [
        *("config.json", "model.safetensors", "model-00001-of-00002.safetensors"),
        *("model.safetensors.index.json", "tokenizer.json", "vocab.json", "tokenizer_config.json"),
    ]
    again = pretrained.open_base("gpt2")
    assert len(answering.requests) == 1
    assert again.hash == base.hash
    assert same(again.model, base.model)


@pytest.mark.parametrize("offline", [True, False])
def test_a_cached_model_opens_without_network(offline, folder, monkeypatch):
    shutil.copytree(folder, cache_of("owner/small"), dirs_exist_ok=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    assert pretrained.open_base("owner/small").hash == pretrained.open_base(folder).hash


def test_an_unreachable_hub_says_how_to_use_a_folder(complaint, monkeypatch):
    message = complaint(pretrained.open_base, "gpt2-xl")
    assert "openai-community/gpt2-xl is not on this machine" in message
    assert "https://huggingface.co cannot be reached" in message
    assert "into a folder, and give its path" in message
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in complaint(pretrained.open_base, "gpt2-xl")


def test_half_a_download_is_none(answering, folder, complaint, monkeypatch):
    place = cache_of(GPT2)
    shutil.copy(folder / "config.json", place)
    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    assert "not on this machine" in complaint(pretrained.open_base, "gpt2")
    (place / INDEX).write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    assert "not on this machine" in complaint(pretrained.open_base, "gpt2")


def answer(status: int):
    """What the hub's client holds while it raises; its kind changed between its versions."""
    return type("Response", (), {"status_code": status, "headers": {}, "request": None})()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.RepositoryNotFoundError("404", response=answer(404)), "has no model some/model"),
        (errors.GatedRepoError("403", response=answer(403)), "wants its terms accepted"),
        (ConnectionError("reset\nby peer"), "could not be downloaded (ConnectionError: reset by"),
        (errors.LocalEntryNotFoundError("gone"), "run it again to go on where it stopped"),
    ],
    ids=["missing", "gated", "broken", "gone"],
)
def test_what_the_hub_answers_becomes_one_line(error, said, answering, complaint):
    answering.error = error
    assert said in complaint(pretrained.open_base, "some/model")


def test_a_full_disk_is_not_blamed_on_the_hub(answering):
    answering.error = OSError(28, "No space left on device", "/cache")
    with pytest.raises(OSError, match="No space left"):
        pretrained.open_base("some/model")


def test_a_folder_without_weights_or_with_pickled_ones(saved_folder, complaint):
    folder = saved_folder()
    (folder / "model.safetensors").unlink()
    assert "has no model.safetensors;" in complaint(read_state, folder)
    (folder / "pytorch_model.bin").write_bytes(b"x")
    message = complaint(read_state, folder)
    assert "pytorch_model.bin: pickled weights" in message
    assert "AutoModelForCausalLM.from_pretrained(OLD).save_pretrained(NEW)" in message


@pytest.mark.parametrize(
    ("index", "named"),
    [
        ({"weight_map": {"a": "../x.safetensors"}}, "'../x.safetensors'"),
        ({"weight_map": {"a": "/etc/passwd"}}, "'/etc/passwd'"),
        ({"weight_map": {"a": "sub/x.safetensors"}}, "'sub/x.safetensors'"),
        ({"weight_map": {"a": "evil.bin"}}, "'evil.bin'"),
        ({"weight_map": {"a": "model-2.safetensors"}}, "lacks model-2.safetensors"),
        ({"weight_map": {}}, "names no files"),
        ({"weight_map": {"a": 1, "b": []}}, "names no files"),
        ({"weight_map": [1]}, "names no files"),
        ({}, "names no files"),
    ],
    ids=str,
)
def test_an_index_that_names_what_is_not_there(index, named, saved_folder, complaint):
    folder = saved_folder()
    os.replace(folder / "model.safetensors", folder / "model-1.safetensors")
    (folder / INDEX).write_text(json.dumps(index))
    (folder.parent / "x.safetensors").write_bytes(b"")
    assert named in complaint(read_state, folder)

"""Models opened from wherever they lie: folders, checkpoints, adapters and their bases."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hf_folders import same

from jojo.models import checkpoint, lora, pretrained
from tokenizer import IM_END

GPT2 = "openai-community/gpt2"

HOW = lora.LoRA(2, 4.0, 0.1, ("q", "up"))


# the hub


def test_a_folder_of_the_same_name_counts_before_the_hub(folder, monkeypatch, complaint):
    monkeypatch.chdir(folder.parent)
    Path("gpt2").mkdir()
    assert "not on this machine" in complaint(pretrained.open_base, "gpt2")  # no model in it
    shutil.copytree(folder, "gpt2", dirs_exist_ok=True)
    base = pretrained.open_base("gpt2")
    assert base.source == str(folder.parent / "gpt2")


# adapters


def test_an_adapter_comes_beside_its_base(plain, adapted):
    path, _ = adapted(plain)
    base = pretrained.open_base(path)
    assert same(base.model, pretrained.open_base(plain).model)
    assert base.source == str(plain)
    assert base.hash == pretrained.open_base(plain).hash
    assert base.adapter["step"] == 7
    assert base.facts["template"] == "chatml"


@pytest.mark.parametrize("kind", ["checkpoint", "folder"])
@torch.inference_mode()
def test_a_loaded_adapter_is_merged_in(kind, plain, folder, adapted):
    path, merged = adapted(plain if kind == "checkpoint" else folder)
    model, facts = pretrained.load_model(path)
    assert same(model, merged)
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())
    assert (facts["template"], facts["step"]) == ("chatml", 7)
    assert "adapter" not in facts
    assert not same(model, pretrained.load_model(facts["base"]["source"])[0])
    ids = torch.tensor([[1, IM_END, 2]])
    torch.testing.assert_close(model(ids), merged(ids))


def test_an_adapter_of_a_hub_model_finds_it_in_the_cache(answering, adapted):
    path, merged = adapted("gpt2")
    content = checkpoint.load(path)
    assert content["base"]["source"] == GPT2
    model, _ = pretrained.load_model(path)
    assert same(model, merged)
    assert len(answering.requests) == 1


def test_an_adapter_on_an_adapter(plain, adapted, tmp_path):
    first, _ = adapted(plain)
    second, merged = adapted(first, "second.pt", seed=1)
    assert checkpoint.load(second)["base"]["source"] == str(first)
    model, _ = pretrained.load_model(second)
    assert same(model, merged)
    base = pretrained.open_base(second)
    assert same(base.model, pretrained.load_model(first)[0])
    third, merged = adapted(second, "third.pt", seed=2)
    assert same(pretrained.load_model(third)[0], merged)


def test_a_base_that_moved(plain, adapted, tmp_path, complaint):
    path, merged = adapted(plain)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    plain.rename(elsewhere / plain.name)
    message = complaint(pretrained.load_model, path)
    assert f"needs its base {plain}" in message
    assert "put base3.pt beside the adapter, or name it with `base`" in message
    assert same(pretrained.load_model(path, base=elsewhere / plain.name)[0], merged)
    path.rename(elsewhere / "moved.pt")
    assert same(pretrained.load_model(elsewhere / "moved.pt")[0], merged)


def test_an_adapter_of_another_base(plain, adapted, tiny_model, tmp_path, complaint):
    path, _ = adapted(plain)
    content = checkpoint.model_content(tiny_model(seed=1), template="chatml")
    checkpoint.save(tmp_path / "other.pt", content)
    for function in (pretrained.load_model, pretrained.open_base):
        message = complaint(function, path, base=str(tmp_path / "other.pt"))
        assert f"adapter {path} was trained on another base" in message
        assert "`base`" in message
    os.replace(tmp_path / "other.pt", plain)  # the base was trained anew under its name
    assert "was trained on another base" in complaint(pretrained.load_model, path)


def test_an_adapter_that_took_the_place_of_its_base(plain, adapted, complaint):
    path, _ = adapted(plain)
    os.replace(path, plain)
    assert "there is an adapter there now" in complaint(pretrained.load_model, plain)


def test_base_is_for_adapters_alone(plain, folder, complaint):
    for source in (plain, folder, "gpt2"):
        assert "leave out `base`" in complaint(pretrained.load_model, source, base=str(plain))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("base"),
        lambda content: content.update(base="x"),
        lambda content: content.pop("template"),
        lambda content: content.pop("lora"),
        lambda content: content.update(lora={**asdict(HOW), "rank": 3}),
        lambda content: content.update(lora={**asdict(HOW), "targets": ["nothing"]}),
        lambda content: content.update(lora={**asdict(HOW), "targets": ["q"]}),
        lambda content: content.update(adapter={}),
        lambda content: content.update(adapter=3),
    ],
    ids=range(9),
)
def test_a_spoiled_adapter_is_one_line(spoil, plain, adapted, complaint):
    path, _ = adapted(plain)
    content = dict(checkpoint.load(path, mmap=False))
    spoil(content)
    checkpoint.save(path, content)
    assert str(path) in complaint(pretrained.load_model, path)


def test_what_is_no_checkpoint(tmp_path, complaint):
    (tmp_path / "a.pt").write_bytes(b"nothing")
    assert "is no checkpoint" in complaint(pretrained.load_model, tmp_path / "a.pt")
    assert "no config.json" in complaint(pretrained.load_model, tmp_path)

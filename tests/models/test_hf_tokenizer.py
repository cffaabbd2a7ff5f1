"""The vocabularies of Hugging Face folders: ours, moved, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from jojo.models import hf_tokenizer, pretrained
from jojo.models.weights import Vocabulary
from tokenizer import IM_END, IM_START


def with_tokenizer(folder: Path, change) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_other_vocabularies_are_refused(saved_folder, complaint):
    folder = saved_folder()

    def swap(content):
        vocab = content["model"]["vocab"]
        vocab["Ġthe"], vocab["Ġcat"] = vocab["Ġcat"], vocab["Ġthe"]

    with_tokenizer(folder, swap)
    message = complaint(pretrained.load_model, folder)
    assert "'Ġthe'" in message
    assert "choose a model of the GPT-2 vocabulary" in message
    with_tokenizer(folder, lambda content: content.update(model={"vocab": [["a", 0.0]]}))
    assert "choose a model of the GPT-2 vocabulary" in complaint(pretrained.load_model, folder)
    (folder / "tokenizer.json").write_text("{")
    assert "tokenizer.json is not valid JSON" in complaint(pretrained.load_model, folder)


@pytest.mark.parametrize("vocab_size", [151936, 50305, 50256])
def test_a_vocabulary_of_another_size_is_refused(vocab_size, tmp_path, complaint):
    message = complaint(hf_tokenizer.read_vocabulary, tmp_path, vocab_size)
    assert f"its vocabulary has {vocab_size:,} tokens; Jojo's is GPT-2's" in message


def test_the_old_layout_of_tokenizers_is_understood(saved_folder, tmp_path):
    vocab = json.loads((saved_folder() / "tokenizer.json").read_text(encoding="utf-8"))["model"][
        "vocab"
    ]
    old = tmp_path / "old"
    old.mkdir()
    (old / "vocab.json").write_text(json.dumps(vocab))
    assert hf_tokenizer.read_vocabulary(old, 50257) == Vocabulary({}, [])
    (old / "added_tokens.json").write_text(json.dumps({"<|im_start|>": 50257}))
    decoder = {"50258": {"content": "<|im_end|>", "special": True}}
    (old / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    swapped = Vocabulary({IM_END: IM_START, IM_START: IM_END}, [])
    assert hf_tokenizer.read_vocabulary(old, 50259) == swapped


def test_chatml_tokens_at_other_places_are_moved(saved_folder, tiny_model, capsys):
    folder = saved_folder(arch="gpt2")

    def move(content):
        content["added_tokens"] = [
            {"id": 50257, "content": "<|im_start|>"},
            {"id": 50300, "content": "<|im_end|>"},
            {"id": 50258, "content": "[PAD]"},
            {"id": 60000, "content": "[FAR]"},
        ]

    with_tokenizer(folder, move)
    old = tiny_model(arch="gpt2").wte.weight
    model, _ = pretrained.load_model(folder)
    new = model.wte.weight
    assert model.lm_head.weight is new
    assert torch.equal(new[:50257], old[:50257])
    assert torch.equal(new[IM_START], old[50257])
    assert torch.equal(new[IM_END], old[50300])
    assert not torch.equal(new[50300], old[50300])  # or two tokens would stand for the end
    assert torch.equal(new[50303], old[50303])  # padding goes on as it is
    assert "[PAD], [FAR]" in capsys.readouterr().err


def test_rows_beyond_ours_are_left_out(saved_folder, tiny_model):
    old = tiny_model(vocab_size=50432)
    model, _ = pretrained.load_model(saved_folder(vocab_size=50432))
    assert model.config.vocab_size == 50304
    for name in ("wte", "lm_head"):
        new = getattr(model, name).weight
        assert torch.equal(new, getattr(old, name).weight[:50304])

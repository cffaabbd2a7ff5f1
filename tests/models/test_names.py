"""How models are named, and what can be no model."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jojo.files import ROOT
from jojo.models import pretrained
from jojo.models.names import NAMES, check_name

GPT2 = "openai-community/gpt2"


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        ("gpt2-small (124M)", GPT2),
        ("gpt2", GPT2),
        ("gpt2-medium (355M)", "openai-community/gpt2-medium"),
        ("gpt2-large (774M)", "openai-community/gpt2-large"),
        ("gpt2-xl (1558M)", "openai-community/gpt2-xl"),
        ("distilgpt2", "distilbert/distilgpt2"),
    ],
)
def test_the_guides_names(name, hub_id):
    assert NAMES[name] == hub_id
    check_name(name)


def test_names_that_may_be_models(folder, plain, monkeypatch):
    monkeypatch.chdir(folder.parent)
    for source in ("Qwen/Qwen3-0.6B", GPT2, folder, "gpt2-tiny", "./gpt2-tiny", plain, "base3.pt"):
        check_name(source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("gpt3", "unknown model 'gpt3' (did you mean gpt2?): give gpt2, "),
        ("gpt2-small (125M)", "did you mean gpt2-small (124M)?"),
        ("some model", "unknown model 'some model': give gpt2, gpt2-medium"),
        ("a/b/c", "unknown model 'a/b/c'"),
        ("", "the name of the model is empty"),
        ("  ", "the name of the model is empty"),
        ("models/none.pt", "model models/none.pt does not exist"),
        ("nowhere/none.safetensors", "does not exist"),
        ("/nowhere/at/all", "model /nowhere/at/all does not exist"),
        ("./none", "does not exist"),
        ("~nobody/x y", "does not exist"),
        ("jojo/none", "jojo/none does not exist; give gpt2"),
        ("gpt2\n", "unknown model 'gpt2\\n'"),
        ("\0", "unknown model '\\x00'"),
        ("https://huggingface.co/openai-community/gpt2", "unknown model"),
    ],
)
def test_what_can_be_no_model(source, said, complaint, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert said in complaint(check_name, source)
    assert said in complaint(pretrained.open_base, source)
    assert said in complaint(pretrained.load_model, source)


def test_unknown_names_are_answered_with_all_there_are(complaint):
    message = complaint(check_name, "bloom")
    for name in NAMES:
        assert name in message
    assert "a folder with one, or a checkpoint" in message


def test_a_slip_in_a_checkpoints_name(plain, complaint, monkeypatch):
    monkeypatch.chdir(plain.parent)
    said = "does not exist: there is"
    assert f"{said} base3.pt, did you mean that?" in complaint(check_name, "./base4.pt")
    assert f"{said} {plain}, did" in complaint(check_name, str(plain)[:-3])
    assert complaint(check_name, "zzz.pt").endswith(f"{said} base3.pt")
    (plain.parent / "models").mkdir()
    assert "make chat" in complaint(check_name, "models/base3.pt")
    plain.rename("models/base3.pt")
    assert f"{said} models/base3.pt" in complaint(check_name, "models/base3")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.gguf"])
def test_single_files_of_other_programs(name, tmp_path, complaint):
    (tmp_path / name).write_bytes(b"x")
    assert "the folder with config.json" in complaint(pretrained.load_model, tmp_path / name)


def test_checking_a_name_is_quick():
    code = (
        "import sys; from jojo.models import names; names.check_name('gpt2')\n"
        "assert not {'torch', 'numpy', 'huggingface_hub', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

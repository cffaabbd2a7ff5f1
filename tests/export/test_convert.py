"""convert.py: models carried elsewhere and back, and what stands in the way of it."""

from __future__ import annotations

import errno
import runpy
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from shapes import slow_after
from verbs import ASKED, SAID, call, trained

import tokenizer
from jojo import files
from jojo.chat.config import SamplingOptions
from jojo.chat.engine import Drawing
from jojo.command import UsageError, one_line
from jojo.export import gguf, hf_folder, llamacpp, ollama, proof_transformers, push
from jojo.export.hf_folder import save_folder
from jojo.files import ROOT
from jojo.models import checkpoint, hf, lora, pretrained, weights
from jojo.text.template import template_named

pytest.importorskip("transformers")
pytest.importorskip("xllamacpp")

TALK = [{"role": "user", "content": ASKED}]
TARGETS = ("out", "out.gguf", "out.pt")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder with models that know one exchange; chatml90.pt, person90.pt, text90.pt."""
    return trained(tmp_path_factory.mktemp("home"), ("chatml", "person", "text")) / "models"


@pytest.fixture
def convert(monkeypatch, capsys, tmp_path):
    """convert.py in this process; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*flags: object) -> str:
        monkeypatch.setattr(sys, "argv", ["convert.py", *map(str, flags)])
        capsys.readouterr()
        assert runpy.run_path(str(ROOT / "convert.py"))["main"]() == 0
        out, err = capsys.readouterr()
        assert out == ""
        return err

    return run


@pytest.fixture
def fails(convert, complaint, tmp_path):
    """The line convert.py ends with; nothing new may lie beside the target then."""

    def run(*flags: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        line = complaint(convert, *flags)
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return run


# there


def test_a_folder_for_transformers(models, convert):
    from transformers import pipeline

    said = convert(models / "chatml90.pt", "--outfile", "chat")
    assert said.count("  same  ") == 7
    assert "DIFFERS" not in said
    chat = pipeline("text-generation", "chat", device="cpu")
    reply = chat(TALK, max_new_tokens=20)[0]["generated_text"][-1]["content"]
    assert reply.strip() == SAID
    card = Path("chat/README.md").read_text()
    assert "max abs" in card
    assert str(models) not in card


@pytest.mark.parametrize("template", ["chatml", "person"])
def test_a_chat_in_llamacpp_stops_by_itself(template, models, convert):
    said = convert(models / f"{template}90.pt", "--outfile", "chat.gguf")
    assert said.count("  same  ") == 7
    assert "f16" in said
    (reply,) = llamacpp.observe(Path("chat.gguf"), [], 40, talks=[TALK], n_threads=1).replies
    assert (reply[0].strip(), reply[1]) == (SAID, "stop")


@pytest.mark.slow
def test_a_text_model_in_llamacpp(models, convert):
    said = convert(models / "text90.pt", "--outfile", "text.bf16.gguf")
    assert said.count("  same  ") == 5
    prompt = tokenizer.encode(SAID[:4])
    (written,) = llamacpp.observe(Path("text.bf16.gguf"), [prompt], 9, n_threads=1).continuations
    assert tokenizer.decode(written.ids[:-1]) == SAID[4:]
    assert written.ids[-1] == tokenizer.ENDOFTEXT


@pytest.mark.slow
def test_the_guides_line_makes_a_k_quant(tiny_model, convert):
    pytest.importorskip("cyllama")
    shape = {"n_embd": 256, "n_inner": 512, "tie_embeddings": True, "vocab_size": 50304}
    save_folder(tiny_model(**shape), Path("tsuki-finetuned"), "chatml")
    said = convert("tsuki-finetuned", "--outfile", "tsuki-finetuned.q4_k_m.gguf")
    assert "q4_k_m  greedy tokens" in said
    assert sorted(p.name for p in Path().iterdir()) == [
        *("tsuki-finetuned", "tsuki-finetuned.q4_k_m.gguf")
    ]
    assert Path("tsuki-finetuned.q4_k_m.gguf").stat().st_size < 15_000_000


# and back


@pytest.mark.parametrize(
    "shape",
    slow_after(
        1,
        [
            {},
            {"tie_embeddings": True},
            {"n_kv_head": 2},
            {"arch": "gpt2"},
            {"arch": "gpt2", "gelu": "exact"},
        ],
    ),
    ids=str,
)
def test_there_and_back_the_weights_are_identical(shape, tiny_model, convert):
    model = tiny_model(vocab_size=50304, **shape)
    known = {"step": 7, "run": "r", "dataset": "d", "data": {"licence": "MIT"}}
    content = checkpoint.model_content(model, template="chatml", **known)
    checkpoint.save(Path("first.pt"), content)
    convert("first.pt", "--outfile", "folder")
    said = convert("folder", "--outfile", "second.pt")
    assert said.count("  same  ") == 2  # with transformers' own reading of the folder
    first, second = (checkpoint.load(Path(f"{name}.pt")) for name in ("first", "second"))
    assert first["model"].keys() == second["model"].keys()
    assert all(torch.equal(t, second["model"][n]) for n, t in first["model"].items())
    assert {n: second[n] for n in ("config", "template", "step", "run", "dataset")} == {
        n: first[n] for n in ("config", "template", "step", "run", "dataset")
    }


def test_an_adapter_merged_and_by_itself(models, tiny_model, convert, fails):
    base = pretrained.open_base(str(models / "chatml90.pt"))
    model = base.model
    lora.adapt(model, lora.LoRA(4, 8.0, 0.0, ("q", "v")))
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0))
    named = {"source": base.source, "hash": base.hash}
    known = {"step": 7, "data": {"name": "chats", "licence": "CC BY-NC 4.0"}}
    content = checkpoint.model_content(model, template="chatml", base=named, **known)
    checkpoint.save(Path("a.pt"), content)
    merged = pretrained.load_model("a.pt")[0]
    convert("a.pt", "--outfile", "merged")
    again = pretrained.load_model("merged")[0]
    assert weights.hash_of(again) == weights.hash_of(merged)
    pytest.importorskip("peft")
    said = convert("a.pt", "--outfile", "alone", "--adapter")
    assert "merged there" in said
    assert {p.name for p in Path("alone").iterdir()} >= {
        *("adapter_config.json", "adapter_model.safetensors", "README.md")
    }
    card = Path("alone/README.md").read_text()
    assert "PeftModel.from_pretrained" in card
    assert "cc-by-nc-4.0" in card
    assert "| steps trained | 7 |" in card
    convert("a.pt", "--outfile", "alone", "--adapter", "--overwrite")
    config = Path("alone/tokenizer_config.json")
    convert("a.pt", "--outfile", "lines", "--adapter", "--template", "speaker")
    assert "<speaker2>" in Path("lines/tokenizer_config.json").read_text()
    assert "<speaker2>" not in config.read_text()
    line = fails(models / "chatml90.pt", "--outfile", "x", "--adapter")
    assert "leave out `adapter`" in line
    shutil.copy(models / "chatml90.pt", "beside.pt")
    flags = ("--outfile", "beside.pt", "--overwrite", "--base", "beside.pt")
    assert "is the base of the adapter" in fails("a.pt", *flags)


def nanogpt(model) -> dict:
    """`model`, of arch gpt2, as nanoGPT saves it."""
    state, c = {}, model.config
    for name, tensor in hf.state_to_hf(model.state_dict(), c).items():
        state[name] = tensor.T if ".h." in name and tensor.dim() == 2 else tensor
    state["lm_head.weight"] = state["transformer.wte.weight"]
    shape = {n: getattr(c, n) for n in ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")}
    args = {**shape, "bias": True, "dropout": 0.0}
    return {"model": state, "model_args": args, "iter_num": 9, "config": {"dataset": "owt"}}


def test_nanogpt_comes_in(tiny_model, convert, fails):
    model = tiny_model(arch="gpt2", gelu="exact", vocab_size=50304, n_inner=0)
    torch.save(nanogpt(model), "ckpt.pt")
    assert "convert.py" in call("gen.py", "ckpt.pt").stderr
    convert("ckpt.pt", "--outfile", "ours.pt")
    ours, facts = checkpoint.load_model(Path("ours.pt"))
    assert (facts["template"], facts["step"]) == ("text", 9)
    prompt = tokenizer.encode("Once upon a time")
    text, options = template_named("text"), SamplingOptions(temp=0.0, max_tokens=20)
    here, there = (Drawing(m, prompt, text, options, torch.Generator()) for m in (ours, model))
    assert here.run() == there.run()
    assert "exact" in fails("ckpt.pt", "--outfile", "x.gguf")
    convert("ckpt.pt", "--outfile", "folder")
    convert("ckpt.pt", "--outfile", "chatty.pt", "--template", "chatml")
    assert checkpoint.load_model(Path("chatty.pt"))[1]["template"] == "chatml"


# proven, or not there


@pytest.fixture
def spoiled(monkeypatch):
    """Every export gets one weight wrong."""
    right = hf.Piece.to_theirs

    def wrong(piece, state):
        tensor = right(piece, state)
        return tensor * 1.5 if "down_proj" in piece.ours[0] else tensor

    monkeypatch.setattr(hf.Piece, "to_theirs", wrong)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["out", "out.gguf"])
def test_a_wrong_export_is_removed(target, models, fails, spoiled):
    assert "does not do what the model does" in fails(models / "chatml90.pt", "--outfile", target)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["out", "out.gguf"])
def test_a_wrong_export_replaces_nothing(target, models, convert, fails, request):
    convert(models / "chatml90.pt", "--outfile", target, "--no_verify")
    path = Path(target)
    before = weights_of(path)
    request.getfixturevalue("spoiled")
    line = fails(models / "chatml90.pt", "--outfile", target, "--overwrite")
    assert "removed" in line
    assert weights_of(path) == before


def weights_of(path: Path) -> bytes:
    return (path / "model.safetensors" if path.is_dir() else path).read_bytes()


def test_a_wrong_checkpoint_is_removed(models, fails, monkeypatch):
    content_of = checkpoint.export_state

    def wrong(model):
        state = content_of(model)
        state["ln_f.weight"] += 1e-3
        return state

    monkeypatch.setattr(checkpoint, "export_state", wrong)
    assert "weights read back in jojo" in fails(models / "chatml90.pt", "--outfile", "out.pt")


def test_without_the_proof_nothing_is_asked(models, convert, spoiled):
    said = convert(models / "chatml90.pt", "--outfile", "out.gguf", "--no_verify")
    assert "same" not in said
    assert "Not compared" in card_of(convert, models)


def card_of(convert, models) -> str:
    convert(models / "chatml90.pt", "--outfile", "carded", "--no_verify")
    return Path("carded/README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "install"), [("out", "transformers"), ("out.gguf", "xllamacpp")]
)
def test_what_is_not_installed_is_skipped_and_named(target, install, models, convert, monkeypatch):
    for module in (proof_transformers, llamacpp):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    said = convert(models / "chatml90.pt", "--outfile", target)
    assert "skipped, it is not installed: pip install" in said
    assert install in said
    assert Path(target).exists()


# what goes wrong


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_there_stays(target, models, convert, fails):
    convert(models / "chatml90.pt", "--outfile", target, "--no_verify")
    assert "`overwrite`" in fails(models / "chatml90.pt", "--outfile", target)
    convert(models / "chatml90.pt", "--outfile", target, "--no_verify", "--overwrite")


def test_what_is_converted_is_not_replaced(models, convert, fails, tmp_path):
    convert(models / "chatml90.pt", "--outfile", "folder", "--no_verify")
    for source in ("folder", models / "chatml90.pt"):
        assert "is the model to be converted" in fails(source, "--outfile", source, "--overwrite")


@pytest.mark.parametrize("target", TARGETS)
def test_no_room_on_the_disk(target, models, convert, tmp_path, monkeypatch):
    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: full)
    with pytest.raises(OSError, match="MB") as error:
        convert(models / "chatml90.pt", "--outfile", target)
    assert one_line(error.value).startswith("no space left on the disk for ")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_meanwhile(models, convert, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError("1024 requested and 512 written")  # numpy's words

    monkeypatch.setattr(gguf.gguf.GGUFWriter, "write_tensor_data", full)
    with pytest.raises(OSError, match="No space") as error:
        convert(models / "chatml90.pt", "--outfile", "out.gguf")
    assert error.value.errno == errno.ENOSPC
    monkeypatch.setattr(
        hf_folder,
        "save_file",
        lambda *a, **k: (_ for _ in ()).throw(
            SafetensorError(f"I/O error: No space left on device (os error {errno.ENOSPC})")
        ),
    )
    with pytest.raises(OSError, match="No space"):
        convert(models / "chatml90.pt", "--outfile", "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["out.q9_0.gguf"], "'q9_0'"),
        (["out.gguf", "--type", "q7"], "q8_0, q2_k"),
        (["out.q8_0.gguf", "--type", "f16"], "leave out one"),
        (["out.q4_k_m.gguf"], "rows of 32: choose `type` q8_0"),
        (["out.safetensors"], "NAME.gguf or NAME.pt, or a folder"),
        (["out", "--push", "ada"], "OWNER/NAME"),
        (["out.gguf", "--create", "x y"], "not a name for Ollama"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line(flags, named, models, fails):
    assert named in fails(models / "chatml90.pt", "--outfile", *flags)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["out", "--type", "f16"], "GGUF"),
        (["out.pt", "--ollama"], "GGUF"),
        (["out.gguf", "--adapter"], "`adapter` writes a folder"),
        (["out.gguf", "--system", "Be kind."], "add `ollama`"),
        (["out", "--public"], "`push` OWNER/NAME"),
        (["out.pt", "--push", "ada/x"], "`push` uploads"),
        (["out", "--template", "llama"], "--template"),
    ],
    ids=str,
)
def test_flags_that_do_not_go_together(flags, named, models, convert, tmp_path):
    with pytest.raises(UsageError, match=named):
        convert(models / "chatml90.pt", "--outfile", *flags)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_no_numbers(tiny_model, fails, tmp_path):
    model = tiny_model(vocab_size=50304)
    with torch.no_grad():
        model.ln_f.weight[3] = torch.nan
    checkpoint.save(tmp_path / "bad.pt", checkpoint.model_content(model, template="chatml"))
    for target in TARGETS:
        assert "not numbers" in fails("bad.pt", "--outfile", target)


def test_a_vocabulary_that_is_too_small(tiny_model, fails, tmp_path):
    content = checkpoint.model_content(tiny_model(vocab_size=512), template="text")
    checkpoint.save(tmp_path / "small.pt", content)
    for target in ("out", "out.gguf"):
        assert "has 512 tokens" in fails("small.pt", "--outfile", target)


@pytest.mark.slow
@pytest.mark.parametrize("block_size", [2, 24, 32])
def test_short_contexts(block_size, tiny_model, convert, tmp_path):
    model = tiny_model(vocab_size=50304, block_size=block_size)
    checkpoint.save(tmp_path / "short.pt", checkpoint.model_content(model, template="chatml"))
    for target in ("out", "out.gguf"):
        assert "DIFFERS" not in convert("short.pt", "--outfile", target)


@pytest.mark.slow
@torch.no_grad()
def test_replies_cut_off_inside_a_character(tiny_model, convert, tmp_path):
    """A model that says nothing but a sign of three tokens."""
    sign = tokenizer.encode("鬱")
    assert len(sign) == 3
    model = tiny_model(n_layer=1, vocab_size=50304)
    for name, p in model.named_parameters():
        if p.dim() > 1 and name != "wte.weight":
            p.zero_()
    model.wte.weight.zero_()
    model.wte.weight[:, 5] = 1.0
    for i, token in enumerate(sign):
        model.wte.weight[token, 5], model.wte.weight[token, i] = 0.0, 1.0
        model.lm_head.weight[sign[(i + 1) % 3], i] = 10.0
    model.lm_head.weight[sign[0], 5] = 10.0
    checkpoint.save(tmp_path / "sign.pt", checkpoint.model_content(model, template="chatml"))
    assert "not given" in convert("sign.pt", "--outfile", "out.gguf")


def test_sources_that_are_no_model(models, fails, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "old.gguf").write_bytes(b"GGUF")
    (tmp_path / "x.safetensors").write_bytes(b"x")
    for source, named in {
        "empty": "no config.json",
        "text.pt": "no checkpoint",
        "x.safetensors": "neither a checkpoint (.pt) nor a folder",
        "missing.pt": "does not exist",
        "old.gguf": "neither a checkpoint (.pt) nor a folder",
        "nothing-like-it": "unknown model",
    }.items():
        assert named in fails(source, "--outfile", "out.gguf"), source
    resume = {"format": checkpoint.FORMAT, "optimizers": {}, "config": {}}
    checkpoint.save(tmp_path / "run-resume.pt", resume)
    assert "for `resume` alone" in fails("run-resume.pt", "--outfile", "out")


# Ollama and the hub


def test_a_modelfile_beside_the_gguf(models, convert, fails):
    flags = ("--outfile", "c.q8_0.gguf", "--ollama", "--system", "You are Tsuki.", "--no_verify")
    said = convert(models / "chatml90.pt", *flags)
    assert "ollama create c.q8_0 -f Modelfile" in said
    text = Path("Modelfile").read_text()
    assert "FROM ./c.q8_0.gguf" in text
    assert 'SYSTEM """You are Tsuki."""' in text
    assert "PARAMETER num_ctx 48" in text
    line = fails(models / "chatml90.pt", "--outfile", "other.gguf", "--ollama")
    assert "Modelfile is there already" in line


def test_a_modelfile_of_somebody_else_stays(models, fails):
    Path("Modelfile").write_text("FROM llama3\n")
    line = fails(models / "chatml90.pt", "--outfile", "c.gguf", "--ollama", "--overwrite")
    assert "not written by Jojo" in line


def test_ollama_makes_the_model(models, convert, monkeypatch):
    made = []
    monkeypatch.setattr(ollama, "check", lambda name, path: "ollama")
    monkeypatch.setattr(ollama, "create", lambda name, path: made.append((name, path.is_file())))
    flags = ("--outfile", "chat.GGUF", "--create", "tsuki", "--no_verify")
    said = convert(models / "chatml90.pt", *flags)
    assert made == [("tsuki", True)]
    assert said.endswith("ollama run tsuki\n")


@pytest.fixture
def hub(monkeypatch):
    """What is uploaded to the hub: (files, name, whether private, card)."""
    uploads = []
    monkeypatch.setattr(push, "check", lambda repo_id: None)
    monkeypatch.setattr(push, "push", lambda *given: uploads.append(given) or "https://hub/x")
    return uploads


@pytest.mark.slow
def test_uploads_follow_the_proof(models, convert, hub, complaint, request):
    convert(models / "chatml90.pt", "--outfile", "out", "--push", "ada/tsuki")
    assert hub.pop() == (Path("out"), "ada/tsuki", True, None)
    flags = ("--outfile", "c.gguf", "--ollama", "--push", "ada/tsuki", "--public")
    assert "uploaded to https://hub/x" in convert(models / "chatml90.pt", *flags)
    uploaded, name, private, card = hub.pop()
    assert ([p.name for p in uploaded], name, private) == (
        *(["c.gguf", "Modelfile"], "ada/tsuki", False),
    )
    assert "# tsuki" in card
    request.getfixturevalue("spoiled")
    complaint(convert, models / "chatml90.pt", "--outfile", "o2", "--push", "ada/tsuki")
    assert hub == []


def test_the_weights_are_those_of_the_model(models, convert):
    """What the proof asks could not see a small change; the weights in a folder are compared."""
    convert(models / "chatml90.pt", "--outfile", "out")
    model, facts = pretrained.load_model(str(models / "chatml90.pt"))
    again, known = pretrained.load_model("out")
    assert weights.hash_of(again) == weights.hash_of(model)
    assert asdict(again.config) == asdict(model.config)
    assert known["data"] == facts["data"]

"""What is saved comes back, and what is no checkpoint is refused in a line."""

from __future__ import annotations

import os
import pickle
import random
import zipfile

import pytest
import torch

from jojo.models import checkpoint, lora, pretrained, provenance
from jojo.models.active_vocabulary import ActiveHead
from jojo.models.checkpoint import FORMAT, RunFiles, load, load_model, model_content, runs, save
from jojo.models.weights import hash_of
from model import GPT, GPTConfig
from tokenizer import VOCABULARY

SHAPES = [
    {"arch": "jojo"},
    {"arch": "jojo", "n_kv_head": 2, "head_dim": 12},
    {"arch": "jojo", "tie_embeddings": True},
    {"arch": "gpt2"},
    {"arch": "gpt2", "tie_embeddings": False},
]
IDS = torch.arange(20)[None]


def save_model(path, model, **facts) -> None:
    save(path, model_content(model, **facts))


@pytest.fixture
def saved(tiny_model, tmp_path):
    """A valid checkpoint of a small model."""
    path = tmp_path / "tiny20.pt"
    save_model(path, tiny_model(vocab_size=97), template="chatml", step=20, dataset="tiny")
    return path


def rewrite(path, **changes) -> None:
    """Change what a checkpoint holds; None removes a part."""
    content = torch.load(path, weights_only=True) | changes
    torch.save({k: v for k, v in content.items() if v is not None}, path)


# what is saved


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@torch.inference_mode()
def test_a_model_comes_back_as_it_was(shape, tiny_model, tmp_path):
    model = tiny_model(vocab_size=97, **shape)
    save_model(tmp_path / "a.pt", model, template="person", step=7, metrics={"loss": 1.5})
    loaded, facts = load_model(tmp_path / "a.pt")
    assert loaded.config == model.config
    assert not loaded.training
    own = model.state_dict()
    assert loaded.state_dict().keys() == own.keys()
    assert all(torch.equal(tensor, own[name]) for name, tensor in loaded.state_dict().items())
    assert torch.equal(loaded(IDS), model(IDS))
    assert (facts["template"], facts["step"], facts["metrics"]) == ("person", 7, {"loss": 1.5})


def test_tied_weights_are_stored_once_and_stay_tied(tiny_model, tmp_path):
    save_model(tmp_path / "a.pt", tiny_model(arch="gpt2", vocab_size=97), template="text")
    assert "lm_head.weight" not in load(tmp_path / "a.pt")["model"]
    loaded, _ = load_model(tmp_path / "a.pt")
    assert loaded.lm_head.weight is loaded.wte.weight


@torch.inference_mode()
def test_an_active_head_is_written_out_in_full(tiny_model, tmp_path):
    model = tiny_model(vocab_size=97)
    model.lm_head = ActiveHead(torch.zeros(97, 32), torch.tensor([3, 50, 96]))
    model.lm_head.weight.normal_()
    save_model(tmp_path / "a.pt", model, template="chatml")
    loaded, _ = load_model(tmp_path / "a.pt")
    assert loaded.lm_head.weight.shape == (97, 32)
    torch.testing.assert_close(loaded(IDS), model(IDS))


def test_a_checkpoint_opens_without_this_codes_classes(saved):
    content = torch.load(saved, weights_only=True)
    assert content["config"]["n_layer"] == 2
    assert content["tokenizer"].startswith("gpt2+chatml")
    assert all(type(t) is torch.Tensor for t in content["model"].values())


def test_a_checkpoint_holds_no_more_than_the_weights(tiny_model, saved):
    weights = sum(4 * p.numel() for p in tiny_model(vocab_size=97).parameters())
    assert saved.stat().st_size < weights + 30_000


def test_saving_over_a_checkpoint_is_all_or_nothing(saved, monkeypatch):
    before = saved.read_bytes()

    def full_disk(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        save(saved, {})
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_loading_leaves_the_file_alone(saved):
    before = saved.read_bytes()
    model, _ = load_model(saved)
    with torch.no_grad():
        model.wte.weight.zero_()
    assert saved.read_bytes() == before


# of earlier versions, and of other ones


@torch.inference_mode()
def test_a_checkpoint_of_the_version_before_is_opened(tmp_path):
    """As Jojo wrote it when it noted a command, and no tokenizer yet."""
    config = {"arch": "jojo", "n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 64}
    config |= {"vocab_size": 97, "n_kv_head": 2, "head_dim": 16, "n_inner": 88, "gelu": "tanh"}
    config |= {"tie_embeddings": False, "dropout": 0.0, "rope_theta": 10000.0, "norm_eps": 1e-06}
    model = GPT(GPTConfig(**config))
    sizes = {"tokens": {"train": 90, "val": 9}, "conversations": {"train": 9, "val": 1}}
    old = {
        "format": "jojo-1",
        "config": config,
        "template": "chatml",
        "model": model.state_dict(),
        "step": 50,
        "metrics": {"loss": 1.4, "val_loss": None, "best_val_loss": float("inf")},
        "run": "mum",
        "dataset": "mum",
        "data_hash": "aa-bb",
        "data": {"name": "", "licence": "as the files that were read", **sizes},
        "made_from": [],
        "command": "python train.py --data_path 'Chat with Bob.zip'",
        "train_config": {"loss_on": "all", "optimizer": "muon"},
    }
    torch.save(old, tmp_path / "mum50.pt")
    loaded, facts = load_model(tmp_path / "mum50.pt")
    assert torch.equal(loaded(IDS), model(IDS))
    assert next(RunFiles(tmp_path, "mum").milestones()).name == "mum50.pt"
    (stage,) = provenance.stages_of(facts, None)
    assert (stage.is_own, stage.is_private) == (True, True)


def test_a_checkpoint_of_another_vocabulary_is_refused(saved, complaint):
    rewrite(saved, tokenizer="gpt2+chatml:0123456789abcdef")
    said = complaint(load, saved)
    assert "gpt2+chatml:0123456789abcdef" in said
    assert VOCABULARY in said
    rewrite(saved, tokenizer=None)
    assert load(saved)["step"] == 20


# what is no checkpoint


def test_a_missing_checkpoint_names_those_there_are(saved, complaint):
    (saved.parent / "tiny-resume.pt").write_bytes(b"")
    message = complaint(load, saved.parent / "tiny9.pt")
    assert "tiny9.pt" in message
    assert "tiny20.pt" in message
    assert "tiny-resume.pt" not in message


def test_a_missing_checkpoint_where_there_is_none_says_how_to_get_one(tmp_path, complaint):
    assert "train" in complaint(load, tmp_path / "a.pt")
    assert "train" in complaint(load, tmp_path / "no" / "folder" / "a.pt")


def test_a_folder_is_no_checkpoint(tmp_path, complaint):
    assert "folder" in complaint(load, tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(share, saved, complaint):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(share * len(data))])
    assert str(saved) in complaint(load_model, saved)


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes_are_refused(seed, tmp_path, complaint):
    path = tmp_path / "a.pt"
    path.write_bytes(random.Random(seed).randbytes(5000))
    assert str(path) in complaint(load, path)


@pytest.mark.parametrize("text", ["hello", "{}", "\x80\x02.", "PK\x03\x04", "80"])
def test_a_text_file_is_refused(text, tmp_path, complaint):
    (tmp_path / "a.pt").write_text(text)
    assert "a.pt" in complaint(load, tmp_path / "a.pt")


def test_a_zip_of_something_else_is_refused(tmp_path, complaint):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "a.pt" in complaint(load, tmp_path / "a.pt")


class Malicious:
    """Creates a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_checkpoint_runs_no_code(zipped, tmp_path, complaint):
    trap, path = tmp_path / "trap", tmp_path / "a.pt"
    content = {"format": checkpoint.FORMAT, "model": Malicious(trap)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert "a.pt" in complaint(load, path)
    assert not trap.exists()


def test_a_malicious_bare_pickle_runs_no_code(tmp_path, complaint):
    trap, path = tmp_path / "trap", tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(Malicious(trap)))
    assert "a.pt" in complaint(load, path)
    assert not trap.exists()
    pickle.loads(path.read_bytes()).close()
    assert trap.exists()  # it would have


def test_an_object_of_another_program_is_refused(tmp_path, complaint):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
    assert "a.pt" in complaint(load, tmp_path / "a.pt")


@pytest.mark.parametrize(
    "content", [{"model": {}}, [1, 2], torch.zeros(3), {"format": "jojo-99"}], ids=str
)
def test_a_checkpoint_of_another_program_is_refused(content, tmp_path, complaint):
    torch.save(content, tmp_path / "a.pt")
    assert "not a Jojo checkpoint" in complaint(load, tmp_path / "a.pt")


# what does not fit


@pytest.mark.parametrize("part", ["model", "config", "template"])
def test_a_checkpoint_with_a_part_missing_is_refused(part, saved, complaint):
    rewrite(saved, **{part: None})
    assert str(saved) in complaint(load_model, saved)


def test_a_resume_file_is_no_model_to_load(tiny_model, tmp_path, complaint):
    files = RunFiles(tmp_path, "tiny")
    files.save_resume({"model": tiny_model(vocab_size=97).state_dict(), "step": 3})
    assert "tiny-resume.pt" in complaint(load_model, files.resume)


@pytest.mark.parametrize(
    "changes",
    [
        {"surprise": 1},
        {"arch": "llama"},
        {"n_layer": "two"},
        {"n_layer": 3},
        {"n_layer": 1},
        {"n_embd": 64},
        {"n_kv_head": 2},
        {"vocab_size": 98},
        {"arch": "gpt2", "tie_embeddings": False},
        {"tie_embeddings": True},
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_the_weights_is_refused(changes, saved, complaint):
    config = torch.load(saved, weights_only=True)["config"]
    rewrite(saved, config=config | changes)
    assert str(saved) in complaint(load_model, saved)


def test_a_setting_that_is_newer_than_the_checkpoint_has_its_default(tiny_model, tmp_path):
    model = tiny_model(arch="gpt2", vocab_size=97)
    save_model(tmp_path / "base.pt", model, template="text")
    base = {"source": str(tmp_path / "base.pt"), "hash": hash_of(model)}
    lora.adapt(model, lora.LoRA(2, 4.0, 0.0, ("all",)))
    save_model(tmp_path / "adapter.pt", model, template="text", base=base)
    for name in ("base.pt", "adapter.pt"):
        config = torch.load(tmp_path / name, weights_only=True)["config"]
        assert config.pop("gelu") == "tanh"
        rewrite(tmp_path / name, config=config)
        assert pretrained.load_model(tmp_path / name)[0].config == model.config


def test_a_config_that_is_no_table_is_refused(saved, complaint):
    rewrite(saved, config=[1, 2])
    assert str(saved) in complaint(load_model, saved)


def edited_weights(path, edit) -> None:
    state = torch.load(path, weights_only=True)["model"]
    edit(state)
    rewrite(path, model=state)


@pytest.mark.parametrize(
    "edit",
    [
        lambda state: state.pop("h.1.attn.q_proj.weight"),
        lambda state: state.update(extra=torch.zeros(2)),
        lambda state: state.update({"ln_f.weight": torch.zeros(33)}),
        lambda state: state.update({"ln_f.weight": "no tensor"}),
    ],
    ids=["missing", "extra", "another shape", "no tensor"],
)
def test_weights_of_another_architecture_are_refused(edit, saved, complaint):
    edited_weights(saved, edit)
    assert str(saved) in complaint(load_model, saved)


# the files of a run


def test_the_files_of_a_run_are_named_after_it(tmp_path):
    files = RunFiles(tmp_path, "chat")
    assert files.milestone(5000) == tmp_path / "chat5000.pt"
    assert files.best == tmp_path / "chat-best.pt"
    assert files.resume == tmp_path / "chat-resume.pt"


def touch(folder, *names: str, run: str = "chat") -> None:
    for name in names:
        save(folder / name, {"format": FORMAT, "run": run})


def test_milestones_are_of_this_run_alone_and_the_newest_comes_first(tmp_path):
    touch(tmp_path, "chat1000.pt", "chat500.pt", "chat10000.pt", "chat-best.pt", "chat-resume.pt")
    touch(tmp_path, "chatty2000.pt", "mychat3000.pt", "chat1000.json", "chat.pt", "chat1000.pt.tmp")
    names = [p.name for p in RunFiles(tmp_path, "chat").milestones()]
    assert names == ["chat10000.pt", "chat1000.pt", "chat500.pt"]


def test_a_run_whose_name_begins_alike_is_another(tmp_path):
    touch(tmp_path, "run1000.pt", run="run")
    touch(tmp_path, "run11000.pt", run="run1")
    assert [p.name for p in RunFiles(tmp_path, "run").milestones()] == ["run1000.pt"]
    assert [p.name for p in RunFiles(tmp_path, "run1").milestones()] == ["run11000.pt"]
    with pytest.raises(ValueError, match=r"run11000\.pt is of another run"):
        RunFiles(tmp_path, "run").check_free(11000, 1000)


def test_one_of_many_checkpoints_is_opened(tmp_path, monkeypatch, complaint):
    touch(tmp_path, *(f"chat{step}.pt" for step in range(1, 40)), "chatty50.pt")
    opened = []
    monkeypatch.setattr(checkpoint, "load", lambda path: opened.append(path.name) or load(path))
    files = RunFiles(tmp_path, "chat")
    assert next(files.milestones()).name == "chat39.pt"
    files.check_free(45, 10)
    assert opened == ["chat39.pt", "chat10.pt", "chat20.pt", "chat30.pt"]
    assert runs(tmp_path) == ["chat", "chatty"]
    assert "chat39.pt, did you mean" in complaint(load, tmp_path / "chat399.pt")
    assert len(opened) == 4


def test_runs_are_told_by_names(tmp_path):
    touch(tmp_path, "run-resume.pt", "run-resume-previous.pt", "other.pt", "new.jsonl")
    assert runs(tmp_path) == []
    touch(tmp_path, "mine.pt", "mine.jsonl", "run11000.pt", "a.b-best.pt", "gpt2.jsonl", "gpt25.pt")
    assert sorted(runs(tmp_path)) == ["a.b", "gpt2", "mine", "run"]
    touch(tmp_path, "run1.jsonl", "run5.pt")
    assert sorted(runs(tmp_path)) == ["a.b", "gpt2", "mine", "run", "run1"]


def test_a_run_name_may_hold_any_characters(tmp_path):
    touch(tmp_path, "a.b+5.pt", "aXb+5.pt", run="a.b+")
    assert [p.name for p in RunFiles(tmp_path, "a.b+").milestones()] == ["a.b+5.pt"]


def test_the_newest_resume_file_is_loaded_and_the_one_before_kept(tmp_path):
    files = RunFiles(tmp_path, "chat")
    assert not files.unfinished()
    assert files.load_resume() is None
    for step in (1, 2, 3):
        files.save_resume({"step": step})
    assert files.unfinished()
    assert files.load_resume()["step"] == 3
    assert load(files.previous)["step"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [files.previous.name, files.resume.name]


@pytest.mark.parametrize("broken", [b"", b"garbage", 0.1, 0.5, 0.9], ids=str)
@pytest.mark.parametrize("size", [100, 100_000])
def test_a_broken_resume_file_falls_back_to_the_one_before(broken, size, tmp_path):
    files = RunFiles(tmp_path, "chat")
    for step in (1, 2):
        files.save_resume({"step": step, "tensor": torch.zeros(size)})
    if isinstance(broken, float):  # cut off there
        data = files.resume.read_bytes()
        broken = data[: int(broken * len(data))]
    files.resume.write_bytes(broken)
    assert files.load_resume()["step"] == 1


def test_a_missing_resume_file_falls_back_to_the_one_before(tmp_path):
    files = RunFiles(tmp_path, "chat")
    for step in (1, 2):
        files.save_resume({"step": step})
    files.resume.unlink()  # killed between two renames
    assert files.unfinished()
    assert files.load_resume()["step"] == 1


def test_two_broken_resume_files_are_an_error(tmp_path, complaint):
    files = RunFiles(tmp_path, "chat")
    files.resume.write_bytes(b"garbage")
    files.previous.write_bytes(b"garbage")
    assert "chat-resume" in complaint(files.load_resume)


def test_a_save_that_is_killed_leaves_something_to_resume_from(tmp_path, monkeypatch):
    files = RunFiles(tmp_path, "chat")
    for step in (1, 2):
        files.save_resume({"step": step})

    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        files.save_resume({"step": 3})
    assert files.load_resume()["step"] == 2


def test_a_finished_run_removes_its_resume_files_only(tmp_path):
    files = RunFiles(tmp_path, "chat")
    files.save_resume({"step": 1})
    files.save_resume({"step": 2})
    touch(tmp_path, "chat2.pt", "chat-best.pt", "other-resume.pt")
    files.remove_resume()
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["chat-best.pt", "chat2.pt", "other-resume.pt"]


def test_starting_over_removes_what_the_run_left_and_nothing_else(tmp_path):
    files = RunFiles(tmp_path, "chat")
    touch(tmp_path, "chat5.pt", "chat10.pt", "chat-best.pt", "chat.jsonl", "chat.png")
    touch(tmp_path, "chat-resume.pt", "chatty5.pt", "chatty.jsonl", "other-best.pt")
    files.remove_all()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "chatty.jsonl",
        "chatty5.pt",
        "other-best.pt",
    ]


def test_numbers_and_random_states_come_back(tmp_path):
    files = RunFiles(tmp_path, "chat")
    content = {"random": {"cpu": torch.get_rng_state()}, "rates": [0.1, 0.2], "best": float("inf")}
    files.save_resume(content)
    loaded = files.load_resume()
    assert torch.equal(loaded["random"]["cpu"], content["random"]["cpu"])
    assert (loaded["rates"], loaded["best"]) == ([0.1, 0.2], float("inf"))

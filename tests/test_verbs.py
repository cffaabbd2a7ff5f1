"""The commands as a person runs them: what they print, and one clear line for what goes wrong."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import fields

import pytest
import torch
from verbs import call, complaint, trained

from jojo.chat.config import GenConfig, InteractConfig
from jojo.data import recipes
from jojo.data.bins import DatasetWriter
from jojo.export.config import ConvertConfig
from jojo.files import ROOT
from jojo.measure.config import EvalConfig
from jojo.text.template import encode_batch
from jojo.train import config


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("home"), ("chatml", "person", "text"))


def test_a_chat_model_answers_and_stops(home):
    model = home / "models" / "chatml90.pt"
    done = call("gen.py", model, "--prompt", "Hello, how are you today?", "--temp", 0)
    assert (done.returncode, done.stdout) == (0, "Fine, and you?\n")
    assert done.stderr == ""


def test_same_seed_same_text_and_samples_come_apart(home):
    model = home / "models" / "chatml90.pt"
    flags = ("--temp", 2, "--top_p", 1, "--max_tokens", 9, "--num_samples", 3)
    one, two = (call("gen.py", model, *flags, "--seed", 4).stdout for _ in range(2))
    assert one == two
    assert one.startswith("--- 1\n")
    assert one.count("---") == 3
    assert call("gen.py", model, *flags, "--seed", 5).stdout != one


def test_the_chat_remembers_saves_and_obeys(home, tmp_path):
    model, saved = home / "models" / "chatml90.pt", tmp_path / "chat.json"
    lines = ["Hello, how are you today?", "/retry", f"/save {saved}", "/undo", "/nonsense", "/quit"]
    done = call("gen.py", model, "--interactive", "--temp", 0, stdin="\n".join(lines))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Fine, and you?\nFine, and you?\n"
    assert "unknown command /nonsense" in done.stderr
    assert json.loads(saved.read_text())["messages"] == [
        {"role": "user", "content": "Hello, how are you today?"},
        {"role": "assistant", "content": "Fine, and you?"},
    ]


@pytest.mark.slow
def test_the_guides_prompts_work_with_person_models(home):
    model = home / "models" / "person90.pt"
    for flags, stdin in (
        (("--prompt", "Person A: Hello, how are you today?"), ""),
        (("--interactive",), "Person A: Hello, how are you today?\n"),
    ):
        done = call("gen.py", model, *flags, "--temp", 0, stdin=stdin)
        assert done.stdout == "Fine, and you?\n", done.stderr


def test_a_text_model_continues(home, tmp_path):
    out = tmp_path / "story.txt"
    model = home / "models" / "text90.pt"
    done = call("gen.py", model, "--prompt", "Fine,", "--temp", 0, "--output", out)
    assert done.stdout == "Fine, and you?\n"
    assert out.read_text() == " and you?\n"


def test_eval_measures(home):
    done = call("eval.py", home / "models" / "chatml90.pt", "--data_dir", home / "data", "--json")
    measured = json.loads(done.stdout)
    assert measured["val_loss"] < 1
    assert measured["assistant_val_loss"] < 1
    assert done.stderr == ""


@pytest.mark.slow
def test_eval_says_that_the_dataset_was_prepared_anew(home, tmp_path):

    said = [{"role": r, "content": "Hello, and you?"} for r in ("user", "assistant")] * 40
    with DatasetWriter(tmp_path, "chatml", template="chatml") as writer:
        for split in ("train", "val"):
            writer.add(split, encode_batch([said], "chatml")[0])
        writer.commit(licence="none", records_in=2)
    flags = (home / "models" / "chatml90.pt", "--data_dir", tmp_path)
    done = call("eval.py", *flags)
    assert "note: dataset chatml is not what it was when this model was trained" in done.stderr
    assert "loss on the training data (nothing is held out)" in done.stderr
    assert "note:" not in call("eval.py", *flags, "--dataset", "chatml").stderr


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--dataset", "chat"), "run python data/prepare-chat.py"),
        (("--dataset", "nothing"), "is not in"),
        (("--device", "cuda:7"), "--device cuda:7: this machine has"),
        (("--device", "abacus"), "use cpu, cuda, cuda:1 or mps"),
        (("--n_head", "3"), "is not a multiple of n_head 3"),
        (("--block_size", "100000"), "less than one block of 100000"),
    ],
)
def test_training_says_what_is_wrong(flags, expected, home, tmp_path):
    if "cuda:7" in flags and torch.cuda.device_count() > 7:
        pytest.skip("this machine has eight GPUs")
    base = ["--dataset", "chatml", "--data_dir", home / "data", "--out_dir", tmp_path, "--preset"]
    said = complaint("train.py", *base, "tiny", "--no_compile", "--max_iters", "2", *flags)
    assert expected in said


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--epochs", "1", "--time_budget", "1m"), "exclude each other"),
        (("--batch_size", "0"), "--batch_size 0 must be 1 or more"),
        (("--run_name", "../x"), "plain file name"),
        (("--time_budget", "soon"), "write 90s, 30m, 2h or 1d"),
        (("--micro_batch_size", "0"), "--micro_batch_size 0 must be 1 or more"),
        (("--seed", "-1"), "--seed -1 must be 0 or more"),
        (("--max_iters", "five"), "'five'"),
        (("--dtype", "int3"), "is none of auto, float32"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(flags, expected):
    assert expected in complaint("train.py", *flags, code=2)


def test_unknown_names_get_the_nearest_one(home, tmp_path):
    said = complaint("train.py", "--max_itres", "5", code=2)
    assert "did you mean --max_iters?" in said
    toml = tmp_path / "my.toml"
    toml.write_text("max_itres = 5\n")
    assert "did you mean 'max_iters'?" in complaint("train.py", toml)
    assert "does not exist" in complaint("train.py", "config/no.toml")


def test_training_refuses_a_spoilt_dataset(home, tmp_path):
    import shutil

    data = shutil.copytree(home / "data", tmp_path / "data")
    path = data / "chatml-train.bin"
    path.write_bytes(path.read_bytes()[:-10])
    said = complaint("train.py", "--dataset", "chatml", "--data_dir", data, "--out_dir", tmp_path)
    assert "bytes, its manifest says" in said


def test_a_place_that_cannot_be_written_is_named(home, tmp_path):
    (tmp_path / "file").write_text("")
    flags = ["--preset", "tiny", "--block_size", "32", "--no_compile", "--max_iters", "1"]
    said = complaint(
        *("train.py", "--dataset", "chatml", "--data_dir", home / "data", *flags),
        *("--out_dir", tmp_path / "file" / "models"),
    )
    assert "Not a directory" in said


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named(home, tmp_path):
    model = home / "models" / "chatml90.pt"
    done = subprocess.run(
        [sys.executable, str(ROOT / "gen.py"), str(model), "--prompt", "Hi"],
        stdout=open("/dev/full", "w"),  # noqa: SIM115
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert "no space left on the disk" in done.stderr
    assert "Traceback" not in done.stderr


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_malicious_checkpoint_is_not_opened(tmp_path):
    trap, evil = tmp_path / "trap", tmp_path / "evil.pt"
    evil.write_bytes(pickle.dumps(Evil(trap)))
    assert "no checkpoint" in complaint("gen.py", evil) or "run code" in complaint("gen.py", evil)
    torch.save({"model": Evil(trap)}, evil)
    assert "it could run code" in complaint("gen.py", evil)
    assert not trap.exists()


def test_generation_says_what_is_wrong(home, tmp_path):
    model = home / "models" / "chatml90.pt"
    assert "does not exist: there is" in complaint("gen.py", home / "models" / "chatml5000.pt")
    half = tmp_path / "half.pt"
    half.write_bytes(model.read_bytes()[:5000])
    assert "truncated" in complaint("gen.py", half)
    assert "the context 48" in complaint("gen.py", model, "--prompt", "word " * 60)
    assert "the prompt is empty" in complaint("gen.py", model, "--prompt", " ")
    latin = tmp_path / "latin.txt"
    latin.write_bytes("déjà vu".encode("latin-1"))
    assert "no valid UTF-8" in complaint("gen.py", model, "--prompt_file", latin)
    assert "--temp -1.0 must lie between" in complaint("gen.py", model, "--temp", "-1", code=2)
    assert "has no CUDA GPU" in complaint("gen.py", model, "--device", "cuda") or (
        torch.cuda.is_available()
    )
    assert "without system messages" in complaint(
        *("gen.py", home / "models" / "person90.pt", "--interactive", "--system", "Be kind.")
    )


DOCUMENTS = [ROOT / name for name in ("README.md", "data/README.md", "CONTRIBUTING.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))


def test_the_documents_name_only_flags_that_exist():
    options = {"help", "as"}
    options |= {"temperature", "max_length"}  # aliases of interact.py
    for options_class in (
        *(config.TrainConfig, config.ChatbotConfig, GenConfig, InteractConfig),
        *(EvalConfig, ConvertConfig),
    ):
        options |= {f.name for f in fields(options_class)}
    for name in recipes.names():
        options |= {f.name for f in fields(recipes.load(name).options)}
    settings = [*(ROOT / "jojo").glob("*/config.py"), *(ROOT / "data").glob("[!-]*.py")]
    for path in settings:
        options |= set(re.findall(r"^    (\w+): ", path.read_text(), re.MULTILINE))
    for path in DOCUMENTS:
        for flag in re.findall(r"--([a-z0-9_]+)", path.read_text(encoding="utf-8")):
            assert flag.removeprefix("no_") in options or flag in options, f"{path}: --{flag}"


def test_every_command_in_the_documents_exists():
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    for script in re.findall(r"python ((?:data/)?[\w-]+\.py)", text):
        assert (ROOT / script).exists(), script
    for toml in re.findall(r"config/\w+\.toml", text):
        assert (ROOT / toml).exists(), toml
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)|`make (\w+)", text, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target


def test_links_and_paths_in_the_documents_lead_somewhere():
    for path in [*DOCUMENTS, ROOT / "LOG.md"]:
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            assert "://" in link or (path.parent / link).exists(), f"{path}: {link}"
        assert not re.search(r"(?<![\w.])/(home|Users|root|tmp|work)/", text), path
        if path.name != "LOG.md":  # which tells of files as they were
            for name in re.findall(r"`((?:jojo|tests|examples|docs)/[\w/.-]+)`", text):
                assert (ROOT / name).exists(), f"{path}: {name}"


def test_the_readme_leads_to_every_page():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in DOCUMENTS[1:]:
        assert path.relative_to(ROOT).as_posix() in readme, path

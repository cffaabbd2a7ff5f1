"""interact.py: talking to the model of a run, and what stands in the way of it."""

from __future__ import annotations

import io
import json
import runpy
import sys
from pathlib import Path

import pytest
from verbs import ASKED, SAID, call, trained

from jojo import command
from jojo.files import ROOT
from jojo.models import checkpoint

NAMES = {
    "chatml": ("user:", "assistant:"),
    "speaker": ("<speaker2>", "<speaker1>"),
    "person": ("Person A:", "Person B:"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder with a run for every template; each knows one exchange."""
    return trained(tmp_path_factory.mktemp("runs"), NAMES | {"text": ()}) / "models"


@pytest.fixture
def verb(monkeypatch, capsys):
    """A command in this process, where torch is loaded already; returns (stdout, stderr)."""

    def run(name: str, *flags: object, stdin: str = "") -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, flags)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        assert runpy.run_path(str(ROOT / name))["main"]() == 0
        return capsys.readouterr()

    return run


@pytest.fixture
def talk(models, verb):
    """Says lines to a run; returns (stdout, stderr)."""

    def say(run: str, *lines: str, flags: tuple = ("--no_sample",), out_dir: Path = models):
        flags = ("--run_name", run, "--out_dir", out_dir, *flags)
        return verb("interact.py", *flags, stdin="\n".join(lines))

    return say


@pytest.fixture
def complains(tmp_path, verb, complaint):
    """What interact.py says is wrong."""

    def fail(*flags: object) -> str:
        return complaint(verb, "interact.py", "--out_dir", tmp_path, *flags, stdin="Hello\n")

    return fail


def saved(path: Path, model, template: str = "chatml", **facts) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(path, checkpoint.model_content(model, template=template, step=1, **facts))
    return path


@pytest.mark.parametrize("template", NAMES)
def test_a_run_answers_stops_and_shows_who_said_what(template, talk):
    out, err = talk(template, ASKED, "h", "q", ASKED)
    assert out == f"{SAID}\n"  # nothing after q
    user, assistant = NAMES[template]
    assert f"{user} {ASKED}\n{assistant} {SAID}\n" in err
    assert f"{template}-best.pt: " in err
    assert f"steps on {template}, template {template}" in err


def test_what_people_copy_from_the_guide_is_understood(talk):
    assert talk("speaker", f"<speaker2> {ASKED}")[0] == f"{SAID}\n"


def test_a_run_of_plain_text_goes_on_with_a_dialogue(talk):
    out, err = talk("text", "Hello", "h", flags=("--no_sample", "--max_length", "8"))
    assert len(out.splitlines()) == 1
    assert "plain text" in err
    assert "Person A: Hello\nPerson B:" in err


def test_no_info_leaves_the_conversation_alone(models):
    flags = ("--run_name", "chatml", "--out_dir", models, "--no_sample", "--no_info")
    done = call("interact.py", *flags, stdin=f"{ASKED}\nh\nq\n")
    assert (done.returncode, done.stdout) == (0, f"{SAID}\n")
    assert done.stderr == f"> {ASKED}\n> h\nuser: {ASKED}\nassistant: {SAID}\n> q\n"


def test_in_gen_history_is_a_command_and_h_is_said_as_any_word(models, verb):
    flags = (models / "speaker90.pt", "--interactive", "--temp", 0, "--max_tokens", 9)
    _, err = verb("gen.py", *flags, stdin=f"{ASKED}\n/history\n/help\n")
    assert f"<speaker2> {ASKED}\n<speaker1> {SAID}\n" in err
    assert "/history" in err.partition("/help")[2]
    assert len(verb("gen.py", *flags, stdin="h\nq")[0].splitlines()) == 2


def test_h_before_anything_was_said(talk):
    assert "nothing was said yet" in talk("chatml", "h")[1]


def test_the_guides_names_of_the_sampling_flags(tiny_model, tmp_path, talk):
    saved(tmp_path / "noise-best.pt", tiny_model(), run="noise")
    flags = ("--temperature", "1.5", "--top_k", "50", "--top_p", "1", "--max_length", "8")

    def drawn(seed: int) -> str:
        return talk("noise", "Tell me", flags=(*flags, "--seed", seed), out_dir=tmp_path)[0]

    assert drawn(3) == drawn(3) != drawn(4)
    assert talk("chatml", ASKED, flags=("--temperature", "0"))[0] == f"{SAID}\n"
    assert talk("chatml", ASKED, flags=("--temperature", "9", "--no_sample"))[0] == f"{SAID}\n"


def test_older_exchanges_are_forgotten(tiny_model, tmp_path, talk):
    saved(tmp_path / "noise-best.pt", tiny_model(block_size=512), run="noise")
    flags = ("--no_sample", "--no_info", "--max_length", "4")
    lines = ("one", "two", "three")
    said = []
    for n in ("9", "1"):
        path = tmp_path / f"{n}.json"
        talk("noise", *lines, f"/save {path}", flags=(*flags, "--max_history", n), out_dir=tmp_path)
        said.append([m["content"] for m in json.loads(path.read_text())["messages"]])
    assert said[0][:5] == said[1][:5]
    assert said[0][5] != said[1][5]  # a random model answers to every word it reads


def test_the_best_model_else_the_newest(tiny_model, tmp_path, talk):
    for name in ("a3.pt", "a20.pt", "a-best.pt"):
        saved(tmp_path / name, tiny_model(), run="a")
    saved(tmp_path / "a100.pt", tiny_model(), run="a1")  # another run's
    flags = ("--max_length", "2")
    assert "a-best.pt: " in talk("a", flags=flags, out_dir=tmp_path)[1]
    (tmp_path / "a-best.pt").unlink()
    assert "a20.pt: " in talk("a", flags=flags, out_dir=tmp_path)[1]


def test_what_train_chatbot_leaves_is_a_run(tiny_model, tmp_path, talk):
    saved(tmp_path / "chatbot.pt", tiny_model(), run="chatbot")
    flags = ("--max_length", "2")
    assert "chatbot.pt: " in talk("chatbot", flags=flags, out_dir=tmp_path)[1]
    saved(tmp_path / "chatbot-best.pt", tiny_model(), run="chatbot")
    assert "chatbot-best.pt: " in talk("chatbot", flags=flags, out_dir=tmp_path)[1]


def test_an_unknown_run_gets_the_list_of_those_there_are(tiny_model, tmp_path, complains):
    said = complains("--run_name", "run1")
    assert "no run 'run1'" in said
    assert "there is none; python train.py --run_name run1" in said
    assert "there is none" in complains("--run_name", "run1", "--out_dir", tmp_path / "nowhere")
    saved(tmp_path / "chat5.pt", tiny_model(), run="chat")
    saved(tmp_path / "chat9.pt", tiny_model(), run="chat")
    saved(tmp_path / "größe-best.pt", tiny_model(), run="größe")
    (tmp_path / "other.pt").write_bytes(b"no checkpoint")
    said = complains("--run_name", "run1")
    assert "there is chat, größe;" in said


def test_a_run_that_saved_no_model_yet(tmp_path, complains):
    for name in ("run1-resume.pt", "run1-resume-previous.pt"):
        (tmp_path / "run1-resume.pt").unlink(missing_ok=True)
        (tmp_path / name).write_bytes(b"whatever")
        said = complains("--run_name", "run1")
        assert "run 'run1' has saved no model yet" in said
        assert "--resume" in said


def test_a_damaged_model_is_named(models, tmp_path, complains):
    (tmp_path / "half-best.pt").write_bytes((models / "chatml-best.pt").read_bytes()[:5000])
    assert "half-best.pt is no checkpoint, or a truncated one" in complains("--run_name", "half")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--max_history", "0"), "--max_history 0 must be 1 or more"),
        (("--max_history", "some"), "'some'"),
        (("--temperature", "-1"), "--temp -1.0 must lie between"),
        (("--top_k", "-1"), "--top_k -1 must be 0 or more"),
        (("--top_k", 1 << 31), "must lie between 0 and 1073741824"),
        (("--top_p", "2"), "--top_p 2.0 must lie between"),
        (("--max_length", "0"), "--max_tokens 0 must be 1 or more"),
        (("--seed", "-1"), "--seed -1 must be 0 or more"),
        (("--run_name", "../x"), "plain file name"),
        (("--run_name", ""), "plain file name"),
        (("--max_histori", "3"), "did you mean --max_history?"),
    ],
)
def test_wrong_usage_is_one_line_and_2(flags, expected, verb, capsys):
    with pytest.raises(SystemExit) as stop:
        command.run(lambda: verb("interact.py", "--run_name", "run1", *flags))
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert expected in err


def test_what_cannot_be_is_one_line_and_1(tmp_path):
    for flags, code in ((("--run_name", "run1"), 1), ((), 2)):
        done = call("interact.py", *flags, "--out_dir", tmp_path)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert "run_name" in done.stderr


@pytest.mark.parametrize("flags", [(), ("--lora_rank", 2), ("--init_from", "scratch")], ids=str)
def test_the_guides_commands_on_the_real_interviews(flags, realdata, tiny_model, tmp_path):
    base = saved(tmp_path / "tiny.pt", tiny_model(), template="text")
    small = ("--max_iters", 3, "--batch_size", 4, "--no_compile", "--sample_interval", 0)
    small += ("--block_size", 32, "--preset", "tiny") if "scratch" in flags else ()
    where = ("--data_dir", tmp_path / "data", "--out_dir", tmp_path / "models")
    path = realdata / "interviews" / "barack_obama_interviews.json"
    done = call(
        *("train.py", "--run_name", "run1", "--data_path", path, "--init_from", base),
        *(*flags, *small, *where),
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "data" / "run1-train.txt").read_text(encoding="utf-8")
    assert text.startswith("<speaker")
    done = call(
        *("interact.py", "--run_name", "run1", *where[2:], "--seed", 1, "--max_length", 20),
        stdin="Mr President, how are you?\nh\nq\n",
    )
    assert done.returncode == 0, done.stderr
    assert "<speaker2> Mr President, how are you?\n<speaker1> " in done.stderr
    assert done.stdout.count("\n") == 1

"""jojo/command.py: what is set by what, what is refused and how, and how a command ends."""

from __future__ import annotations

import dataclasses
import errno
import importlib.util
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from jojo import command
from jojo.chat.config import GenConfig, InteractConfig
from jojo.command import UsageError, parse, read_toml, seconds
from jojo.data import recipes
from jojo.data.contract import CommonOptions
from jojo.export.config import ConvertConfig
from jojo.files import ROOT
from jojo.measure.config import BenchConfig, EvalConfig
from jojo.train.config import ChatbotConfig, TrainConfig


@pytest.fixture
def toml(tmp_path):
    """Writes a config file and returns its path."""

    def write(text: str) -> str:
        (tmp_path / "run.toml").write_text(text)
        return str(tmp_path / "run.toml")

    return write


def parsed(*argv: str) -> TrainConfig:
    return parse(TrainConfig, list(argv), None)


@pytest.fixture
def usage_error(capsys):
    """Parses what must be wrong usage; returns what the person sees."""

    def call(*argv: str, options=TrainConfig) -> str:
        with pytest.raises(SystemExit) as caught:
            command.run(lambda: parse(options, list(argv), None) and 0)
        assert caught.value.code == 2
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        return err

    return call


# precedence


def test_without_anything_the_defaults_hold():
    assert parsed() == TrainConfig()


def test_the_file_overrides_defaults_and_flags_override_the_file(toml):
    path = toml('dataset = "chat"\nmax_iters = 7\nlearning_rate = 0.5\ncompile = false\n')
    config = parsed(path, "--max_iters", "9", "--batch_size", "3")
    assert (config.dataset, config.max_iters, config.batch_size) == ("chat", 9, 3)
    assert (config.learning_rate, config.compile) == (0.5, False)
    rest = dataclasses.replace(
        config, dataset=None, max_iters=None, batch_size=None, learning_rate=None, compile=True
    )
    assert rest == TrainConfig()


def test_hyphens_are_accepted():
    assert parsed("--max-iters", "9", "--loss-on", "assistant").max_iters == 9


def test_booleans_are_switched_on_and_off():
    assert parsed("--resume").resume
    assert not parsed("--no_compile").compile
    assert not parsed("--no-compile").compile


def test_whole_numbers_may_stand_for_fractions(toml):
    assert parsed(toml("dropout = 0\nepochs = 2\n")).epochs == 2.0


def test_paths_in_a_file_are_paths(toml):
    assert parsed(toml('out_dir = "somewhere"\n')).out_dir == Path("somewhere")


def test_the_checkpoint_is_the_first_argument_of_gen():
    config = parse(GenConfig, ["models/chat5000.pt", "--interactive", "--temp", "0.5"], None)
    assert config.checkpoint == "models/chat5000.pt"
    assert (config.interactive, config.temp) == (True, 0.5)


# what is wrong with a file


def test_an_unknown_name_suggests_the_nearest(toml, complaint):
    message = complaint(parsed, toml("max_itres = 5\n"))
    assert "'max_itres'" in message
    assert "'max_iters'" in message
    assert "run.toml" in message


def test_an_unknown_name_like_no_other_suggests_nothing(toml, complaint):
    assert "mean" not in complaint(parsed, toml("xyzzy = 5\n"))


@pytest.mark.parametrize(
    "line",
    [
        'max_iters = "many"',
        "max_iters = 1.5",
        "max_iters = true",
        "dataset = 5",
        "compile = 1",
        'compile = "yes"',
        "n_layer = [1, 2]",
        "dtype = 16",
        "dtype = 1.5",
        "[max_iters]\na = 1",
        "learning_rate = 1979-05-27",
    ],
)
def test_a_value_of_another_type_is_an_error(line, toml, complaint):
    message = complaint(parsed, toml(line + "\n"))
    assert "run.toml" in message
    assert line.strip("[").split()[0].strip("]") in message


@pytest.mark.parametrize("line", ['preset = "huge"', 'optimizer = "sgd"', 'loss_on = "user"'])
def test_a_choice_that_there_is_not_is_an_error(line, toml, capsys):
    with pytest.raises((ValueError, SystemExit)) as caught:
        parsed(toml(line + "\n"))
    shown = str(caught.value) + capsys.readouterr().err
    assert line.split('"')[1] in shown


@pytest.mark.parametrize("text", ["max_iters =", "max_iters = 1\nmax_iters = 2", "= 3", "a b c"])
def test_a_file_that_is_no_toml_is_an_error(text, toml, complaint):
    assert "run.toml" in complaint(parsed, toml(text))


def test_a_file_that_is_not_utf8_is_an_error(tmp_path, complaint):
    (tmp_path / "run.toml").write_bytes(b"dataset = '\xff'\n")
    assert "run.toml" in complaint(parsed, str(tmp_path / "run.toml"))


def test_a_missing_file_names_those_there_are(toml, tmp_path, complaint):
    toml("max_iters = 5\n")
    message = complaint(parsed, str(tmp_path / "rum.toml"))
    assert "rum.toml" in message
    assert "run.toml" in message
    assert "nowhere" in complaint(parsed, str(tmp_path / "nowhere" / "run.toml"))


def test_reading_a_file_alone_gives_its_values(toml):
    assert read_toml(TrainConfig, Path(toml("max_iters = 5\n"))) == {"max_iters": 5}


# what is wrong with flags


def test_an_unknown_flag_suggests_the_nearest(usage_error):
    message = usage_error("--max_itres", "5")
    assert "max_itres" in message
    assert "--max_iters" in message or "--max-iters" in message


def test_a_flag_with_a_value_of_another_type_is_wrong_usage(usage_error):
    assert "many" in usage_error("--max_iters", "many")


def test_a_choice_that_there_is_not_lists_the_choices(usage_error):
    message = usage_error("--preset", "huge")
    assert "huge" in message
    assert "medium" in message


def test_a_missing_checkpoint_argument_is_wrong_usage(usage_error):
    assert "checkpoint" in usage_error(options=GenConfig).lower()


def test_another_name_of_a_flag_is_suggested_too(usage_error):
    message = usage_error("--run_name", "x", "--temperatur", "1", options=InteractConfig)
    assert "--temperature?" in message


# one rule for what is wrong


def every_options() -> dict[str, tuple[type, dict]]:
    """The options of every command, and what must be given."""
    x = {"checkpoint": "x"}
    found = {
        "train": (TrainConfig, {}),
        "train_chatbot": (ChatbotConfig, {}),
        "gen": (GenConfig, x),
        "interact": (InteractConfig, {"run_name": "x"}),
        "eval": (EvalConfig, x),
        "bench": (BenchConfig, {"what": "gen"}),
        "convert": (ConvertConfig, {"source": "x", "outfile": Path("x")}),
    }
    for name in recipes.names():
        given = {"use_squad_answers": True} if name == "knowledge" else {}
        found[f"prepare-{name}"] = (recipes.load(name).options, given)
    for name, kind in (("prepare", "Mix"), ("preview", "Preview"), ("report", "Report")):
        spec = importlib.util.spec_from_file_location(name, ROOT / "data" / f"{name}.py")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)  # for type hints
        spec.loader.exec_module(module)
        given = {} if name == "prepare" else {"name": "x"}
        found[name] = (getattr(module, f"{kind}Options"), given)
    return found


@pytest.mark.parametrize(("options", "given"), every_options().values(), ids=every_options())
def test_every_number_is_checked_where_parse_sees_it(options, given):
    options(**given)
    hints = typing.get_type_hints(options)
    for name in (field.name for field in dataclasses.fields(options)):
        is_free = name == "seed" and issubclass(options, CommonOptions)
        if {int, float} & {hints[name], *typing.get_args(hints[name])} and not is_free:
            with pytest.raises(ValueError, match=rf"`{name}` -7"):
                options(**given | {name: -7})


@pytest.mark.parametrize(
    ("text", "flags", "code"),
    [
        ("", ["--batch_size", "0"], 2),
        ("batch_size = 0", [], 1),
        ("epochs = 1", ["--time_budget", "1m"], 2),
        ("batch_sise = 1", [], 1),
    ],
)
def test_what_flags_say_is_wrong_usage_and_what_a_file_says_is_not(text, flags, code, toml, ending):
    ended, err = ending(lambda: parsed(toml(text), *flags))
    assert (ended, err.count("\n")) == (code, 1)


# times


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("45", 45),
        ("1.5h", 5400),
        ("0.5s", 0.5),
        ("1d", 86400),
    ],
)
def test_times(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "m", "0", "-5m", "10 minutes", "nan", "nanh", "inf"])
def test_what_is_no_time_says_the_form(text, complaint):
    message = complaint(seconds, text)
    assert repr(text) in message
    assert "30m" in message


# how a command ends


@pytest.fixture
def ending(capsys):
    """Runs a command that raises or returns something: (exit code, stderr)."""

    def call(outcome) -> tuple[int, str]:
        def main():
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome() if callable(outcome) else outcome

        with pytest.raises(SystemExit) as caught:
            command.run(main)
        return caught.value.code, capsys.readouterr().err

    return call


def test_a_command_that_is_done_ends_with_0(ending):
    assert ending(None) == (0, "")
    assert ending(0) == (0, "")
    assert ending(3) == (3, "")


def test_a_users_error_is_one_line_and_1(ending):
    assert ending(ValueError("--temp 200 must lie\nbetween 0 and 100")) == (
        1,
        "error: --temp 200 must lie between 0 and 100\n",
    )


def test_wrong_usage_found_later_is_one_line_and_2(ending):
    assert ending(UsageError("there is nothing to learn")) == (
        2,
        "error: there is nothing to learn\n",
    )


def test_a_reader_that_goes_away_ends_it_with_141():
    code = "from jojo.command import run; run(lambda: print('x' * 1_000_000))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, cwd=ROOT)
    child.stdout.close()
    assert (child.stderr.read(), child.wait()) == (b"", 141)


def test_ctrl_c_ends_with_130(ending):
    code, err = ending(KeyboardInterrupt())
    assert code == 130
    assert "Traceback" not in err


def out_of_memory_errors():
    import torch

    return [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nand more"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ]


@pytest.mark.parametrize("index", range(3))
def test_out_of_memory_says_which_setting_to_lower(index, ending):
    code, err = ending(out_of_memory_errors()[index])
    assert code == 1
    assert err.count("\n") == 1
    assert "--micro_batch_size" in err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "models/a.pt"), "no space"),
        (PermissionError(errno.EACCES, "Permission denied", "models/a.pt"), "permission"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.txt"), "a.txt"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "UTF-8"),
        (ImportError("No module named 'wandb'"), "wandb"),
        (ValueError(), "ValueError"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_expected_errors_are_one_line(error, said, ending):
    code, err = ending(error)
    assert code == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize("bug", [RuntimeError("shape mismatch"), AssertionError(), KeyError("x")])
def test_a_bug_keeps_its_traceback(bug):
    def main():
        raise bug

    with pytest.raises(type(bug)):
        command.run(main)


def test_what_is_said_goes_to_stderr(capsys):
    command.say("hello", 5)
    assert capsys.readouterr() == ("", "hello 5\n")


# the commands themselves


def python(*argv: str, cwd=ROOT) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
    )


@pytest.mark.parametrize("verb", ["train.py", "gen.py", "eval.py"])
def test_help_shows_the_flags_and_writes_nothing(verb, tmp_path):
    done = python(str(ROOT / verb), "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--device" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [("--max_itres", "5"), ("--max_iters", "0")], ids=str)
def test_wrong_usage_of_a_command_ends_with_2(argv, tmp_path):
    done = python(str(ROOT / "train.py"), *argv, cwd=tmp_path)
    assert done.returncode == 2
    assert "max_iters" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("train.py", "nowhere.toml"), "nowhere.toml"),
        (("train.py", "--dataset", "nosuch"), "prepare.py --list"),
        (("gen.py", "nowhere.pt"), "nowhere.pt"),
    ],
    ids=str,
)
def test_a_users_error_of_a_command_is_one_line_and_1(argv, said, tmp_path):
    done = python(str(ROOT / argv[0]), *argv[1:], cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize("module", ["jojo.train.config", "jojo.command", "jojo.files", "tokenizer"])
def test_importing_the_light_modules_does_not_import_torch(module):
    done = python("-c", f"import sys, {module}; sys.exit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""

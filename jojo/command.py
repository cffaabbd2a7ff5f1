"""How every command behaves: flags from a dataclass, errors in one line, exit codes.

0 done, 1 something the user can mend (one line on stderr), 2 wrong usage, 130 Ctrl+C.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import errno
import io
import os
import re
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Options = TypeVar("Options")


def say(*parts: object) -> None:
    """Print for a person: to stderr, so that stdout holds only what was asked for."""
    print(*parts, file=sys.stderr, flush=True)


def parse(options: type[Options], argv: list[str] | None, description: str | None) -> Options:
    """Flags of the command line -> `options`; defaults < TOML file (first argument) < flags."""
    import tyro

    argv = list(sys.argv[1:] if argv is None else argv)
    default = None
    # a class with required fields takes no file
    all_optional = not any(f.default is f.default_factory for f in dataclasses.fields(options))
    if all_optional and argv and argv[0].endswith(".toml"):
        default = options(**read_toml(options, Path(argv.pop(0))))
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                options,
                args=argv,
                default=default,
                use_underscores=True,
                description=description or "",
            )
    except SystemExit as stop:
        if stop.code:
            say(f"error: {_usage_error(complaint.getvalue())}")
        raise


def _usage_error(box: str) -> str:
    """tyro's framed error as one line; where stdout is not UTF-8 its frame is of | and -."""
    rows = [row.strip("│| ") for row in box.splitlines()[1:]]  # the first is a title
    sections = " ".join(row if row.strip("─-╰╯") else "\n" for row in rows).split("\n")
    sections = [section for section in sections if section.strip()]
    text = re.sub(r"Error parsing \w+: ", "", sections[0].strip())
    near = re.search(r"Perhaps you meant: +(--\w+)", sections[1]) if sections[1:] else None
    return f"{text}: did you mean {near[1]}?" if near else f"{text}; --help lists the options"


def read_toml(options: type, path: Path) -> dict:
    """`name = value` lines for the dataclass `options`; ValueError on a name it does not have."""
    try:
        values = parse_toml(path)
    except FileNotFoundError:
        raise ValueError(f"config file {path} does not exist{_nearby_configs(path)}") from None
    kinds = typing.get_type_hints(options)
    for name in getattr(options, "no_flags", ()):
        del kinds[name]
    for name, value in values.items():
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1, cutoff=0.5)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{path}: unknown name {name!r}{hint}")
        values[name] = _fitting(kinds[name], value, f"{path}: {name} = {value!r}")
    return values


def parse_toml(path: Path, what: str = "valid TOML", encoding: str = "utf-8") -> dict:
    """What stands in a TOML file; ValueError for one that is not `what`, FileNotFoundError."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding=encoding))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not {what}: {' '.join(str(error).split())}") from error


def _fitting(kind: object, value: object, what: str) -> object:
    """`value` as the type hint `kind` wants it; ValueError where it cannot be."""
    if typing.get_origin(kind) is tuple:
        values = value if isinstance(value, list) else [value]
        return tuple(_fitting(typing.get_args(kind)[0], v, what) for v in values)
    kinds = [k for k in typing.get_args(kind) if k is not type(None)] or [kind]
    if len(kinds) == 1 and typing.get_origin(kinds[0]) is typing.Literal:
        kind, kinds = kinds[0], list(typing.get_args(kinds[0]))
    if typing.get_origin(kind) is typing.Literal:
        if value not in kinds:
            raise ValueError(f"{what} is none of {', '.join(map(str, kinds))}")
        return value
    if Path in kinds and isinstance(value, str):
        return Path(value)
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        names = " or ".join(k.__name__ for k in kinds)
        raise ValueError(f"{what} is not of type {names}")
    return value


def _nearby_configs(path: Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
    return f": {path.parent} has {', '.join(found)}" if found else ""


def run(command: Callable[[], int | None]) -> None:
    """Call `command` and leave the process with its exit code; expected errors become one line."""
    try:
        code = command() or 0
        sys.stdout.flush()
        raise SystemExit(code)
    except KeyboardInterrupt as stop:
        say(f"\n{stop}" if str(stop) else "\nstopped")
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        _drop_stdout()
        raise SystemExit(141) from None
    except (ValueError, OSError, ImportError, MemoryError) as error:
        say(f"error: {one_line(error)}")
        try:
            sys.stdout.flush()
        except OSError:
            _drop_stdout()  # or what is still buffered would fail again at exit
        raise SystemExit(1) from None
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        say(f"error: {one_line(error)}")
        raise SystemExit(1) from None


def _drop_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch (any device) or Python ran out of memory."""
    text = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in text
        or "not enough memory" in text
        or "out of memory" in text.lower()
        or "ALLOC_FAILED" in text
    )


def one_line(error: BaseException) -> str:
    if is_out_of_memory(error):
        return "out of memory: lower --micro_batch_size, --block_size or --num_samples"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" for {error.filename}" if error.filename else ""
        return f"no space left on the disk{where}: free some or choose another place"
    if isinstance(error, PermissionError) and error.filename:
        return f"no permission for {error.filename}: choose another place or change its permissions"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, UnicodeDecodeError):
        return f"the input is no valid UTF-8 ({error.reason} at byte {error.start:,})"
    return " ".join(str(error).split()) or type(error).__name__


def check_ranges(options: object, ranges: dict[str, tuple[float, float]]) -> None:
    """ValueError for the first option that is set and lies outside its range."""
    for name, (low, high) in ranges.items():
        value = getattr(options, name)
        if value is not None and not low <= value <= high:
            flag = getattr(options, "flags", {}).get(name, f"--{name}")
            # a limit that high is a mere stop
            open_end = high >= 1e9 and not value > high
            wanted = f"be {low:g} or more" if open_end else f"lie between {low:g} and {high:.15g}"
            raise ValueError(f"{flag} {value} must {wanted}")


def check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < 1 << 63:
        raise ValueError(f"--seed {seed} must lie between 0 and {(1 << 63) - 1}")


def seconds(text: str, flag: str = "--time_budget") -> float:
    """ "90s", "30m", "2h", "1d" or plain seconds -> seconds; ValueError names the flag."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ValueError(f"{flag} {text!r} is no time: write 90s, 30m or 2h, or 1d for a day")
    return value


def duration(s: float) -> str:
    """Seconds in the unit a person would use."""
    if s < 90:
        return f"{s:.0f} s"
    if s < 5400:
        return f"{s / 60:.0f} min"
    return f"{s / 3600:.1f} h" if s < 36000 else f"{s / 3600:.0f} h"

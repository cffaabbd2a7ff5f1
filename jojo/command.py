"""How every command behaves: flags from a dataclass, errors in one line, exit codes.

Each command ends with one of these, and says why in one line on stderr:

    0    done
    1    something the person can mend: data, a file (also what a TOML file says), the machine
    2    wrong usage: flags that are unknown, missing, out of range or at odds with each other
    130  Ctrl+C
    141  the reader of our output went away

A dataclass of options checks in __post_init__ whatever its values alone can show, so that `parse`
finds it: from flags that is a UsageError, from a TOML file any other ValueError.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import sys
import typing
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

if TYPE_CHECKING:
    from tyro._errors import ParseErrorEvent

T = TypeVar("T")
SETTING = re.compile(r"`([a-z][a-z0-9_]*)`")  # as messages of the library name one


class UsageError(ValueError):
    """The flags themselves cannot be: exit code 2."""


class Range(typing.NamedTuple):
    """What a number among options must lie between."""

    low: float
    high: float = 1 << 40  # a mere stop


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Amount = Annotated[float, Range(0, 1e30)]
Share = Annotated[float, Range(0, 1)]
Seed = Annotated[int, Range(0, (1 << 63) - 1)]


class Options:
    """Base of the dataclasses of options, whose types say the range of a number."""

    def __post_init__(self) -> None:
        """ValueError for the first number that is given and lies outside its range."""
        for name, kind in typing.get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            for mark in _marks(kind) if value is not None else ():
                if isinstance(mark, Range) and not mark.low <= value <= mark.high:
                    is_open = mark.high >= 1e9 and not value > mark.high
                    limits = f"lie between {mark.low:g} and {mark.high}"
                    wanted = f"be {mark.low:g} or more" if is_open else limits
                    raise ValueError(f"`{name}` {value} must {wanted}")


def _marks(kind: type) -> list:
    """What Annotated says of a type, or of one of those it is the union of."""
    return [mark for k in (kind, *typing.get_args(kind)) for mark in getattr(k, "__metadata__", ())]


def say(*parts: object) -> None:
    """Print for a person: to stderr, so that stdout holds only what was asked for.

    The library writes a setting as `name`; here, on the command line, it is --name.
    """
    print(*(SETTING.sub(r"--\1", str(part)) for part in parts), file=sys.stderr, flush=True)


def parse(options: type[T], argv: list[str] | None, description: str | None) -> T:
    """Flags of the command line -> `options`; defaults < TOML file (first argument) < flags."""
    import tyro
    from tyro._errors import on_parse_error  # not yet public: the version is pinned

    argv = list(sys.argv[1:] if argv is None else argv)
    default = None
    # a class with required fields takes no file
    all_optional = not any(f.default is f.default_factory for f in fields(options))
    if all_optional and argv and argv[0].endswith(".toml"):
        default = options(**read_toml(options, Path(argv.pop(0))))

    def refuse(event: ParseErrorEvent) -> None:
        raise UsageError(_what_is_wrong(event, options))

    with on_parse_error(refuse):
        return tyro.cli(
            options,
            args=argv,
            default=default,
            use_underscores=True,
            description=description or "",
        )


def _what_is_wrong(event: ParseErrorEvent, options: type) -> str:
    from tyro import _errors

    argument = getattr(event, "argument", None)
    flag = argument.display_name() if argument else ""
    if isinstance(event, _errors.InstantiationFailure):
        if not argument:
            return event.message  # of __post_init__
        what = f"{flag}: {event.message.splitlines()[0].rstrip('.')}"
    elif isinstance(event, _errors.UnrecognizedArgs):
        flags = [token.partition("=")[0] for token in event.tokens if token.startswith("-")]
        hints = typing.get_type_hints(options, include_extras=True)
        known = [f"--{f.name}" for f in fields(options)]
        for mark in (mark for f in fields(options) for mark in _marks(hints[f.name])):
            known += getattr(mark, "aliases", None) or ()
        near = _nearest(flags[0].replace("-", "_"), known) if flags else ""
        what = f"unknown option {flags[0]}{near}" if flags else f"unexpected {event.tokens[0]!r}"
    elif isinstance(event, _errors.MissingArgs):
        what = f"missing: {', '.join(a.arg.display_name() for a in event.missing_arguments)}"
    elif isinstance(event, _errors.InvalidChoice):
        what = f"{flag} {event.value!r} is none of {', '.join(event.choices)}"
    elif isinstance(event, _errors.BadValue):
        what = f"{flag} needs a value"
    else:
        what = f"the flags cannot be understood ({type(event).__name__})"
    return f"{what} (--help lists the options)"


def _nearest(name: str, names: Iterable[str], quote: Callable[[str], str] = str) -> str:
    """A suggestion, where one of `names` is like it."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f": did you mean {quote(near[0])}?" if near else ""


def read_toml(options: type, path: Path) -> dict:
    """`name = value` lines for the dataclass `options`; ValueError on a name it does not have."""
    try:
        values = parse_toml(path)
    except FileNotFoundError:
        raise ValueError(f"config file {path} does not exist{_nearby_configs(path)}") from None
    hints = typing.get_type_hints(options)
    kinds = {f.name: hints[f.name] for f in fields(options)}
    for name, value in values.items():
        if name not in kinds:
            raise ValueError(f"{path}: unknown name {name!r}{_nearest(name, kinds, repr)}")
        values[name] = _fitting(kinds[name], value, f"{path}: {name} = {value!r}")
    return values


def _fitting(kind: type, value: object, what: str) -> object:
    """`value` as the type hint `kind` wants it; ValueError where it cannot be."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic_core import to_json

    if typing.get_origin(kind) is tuple and not isinstance(value, list):
        value = [value]  # a single one needs no brackets
    try:  # as JSON: strict, and yet strings are paths there, and lists tuples
        return TypeAdapter(kind, config=ConfigDict(strict=True)).validate_json(to_json(value))
    except ValidationError as error:
        wanted = error.errors()[0]["msg"].removeprefix("Input ")
        raise ValueError(f"{what} {wanted}") from None


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
    except (ValueError, OSError, ImportError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise  # a bug of ours
        say(f"error: {one_line(error)}")
        try:
            sys.stdout.flush()
        except OSError:
            _drop_stdout()  # or what is still buffered would fail again at exit
        raise SystemExit(2 if isinstance(error, UsageError) else 1) from None


def _drop_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch (any device) or Python ran out of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    signs = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")
    return any(sign in str(error).lower() for sign in signs)


def one_line(error: BaseException) -> str:
    if is_out_of_memory(error):
        return "out of memory: lower `micro_batch_size`, `block_size` or `num_samples`"
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


def check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < 1 << 63:
        raise ValueError(f"`seed` {seed} must lie between 0 and {(1 << 63) - 1}")


def seconds(text: str, setting: str = "time_budget") -> float:
    """ "90s", "30m", "2h", "1d" or plain seconds -> seconds; ValueError names the setting."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) * units[unit]
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise ValueError(f"`{setting}` {text!r} is no duration: write 90s, 30m, 2h or 1d")
    return value


def duration(s: float) -> str:
    """Seconds in the unit a person would use."""
    if s < 90:
        return f"{s:.0f} s"
    if s < 5400:
        return f"{s / 60:.0f} min"
    return f"{s / 3600:.1f} h" if s < 36000 else f"{s / 3600:.0f} h"

"""An export on huggingface.co: all its files in one commit, private unless asked otherwise.

check("ada/tsuki-chat")  # before the work: the name, the login, the way there
url = push(Path("exports/tsuki"), "ada/tsuki-chat", private=True, card=None)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, errors
from huggingface_hub.utils import validate_repo_id

from jojo.command import say
from jojo.export.folder import OF_A_MODEL
from jojo.web.download import OUR_FAULT, hub_answers

CARD = "README.md"
HINTS = {  # by what the hub answered
    401: "it does not accept the login; run hf auth login",
    403: "run hf auth login with a token that may write there, or choose another OWNER",
}


def check(repo_id: str) -> None:
    """ValueError where nothing could be uploaded as `repo_id`."""
    try:
        validate_repo_id(repo_id)
        valid = repo_id.count("/") == 1
    except errors.HFValidationError:
        valid = False
    if not valid:
        raise ValueError(
            f"`push` {repo_id!r} must be OWNER/NAME, of letters, digits, -, _ and ., as in "
            "ada/tsuki-chat"
        )
    site = constants.ENDPOINT
    if constants.HF_HUB_OFFLINE:
        raise ValueError("`push`: HF_HUB_OFFLINE is set; unset it, or leave out `push`")
    token = huggingface_hub.get_token() or ""
    if not token or not (token.isascii() and token.isprintable()):  # else an error would show it
        raise ValueError(
            f"`push` needs a login: run hf auth login, with a token of {site}/settings/tokens that "
            "may write"
        )
    if not hub_answers():
        raise ValueError(f"`push`: {site} cannot be reached; try later, or leave out `push`")


def push(files: Path | Sequence[Path], repo_id: str, private: bool, card: str | None) -> str:
    """Upload a folder, or files; returns the address. ValueError if it fails.

    A folder's weights take the place of those that are there; files go beside them. `card` becomes
    the README.md where neither `files` nor the repository has one.
    """
    api = HfApi(token=huggingface_hub.get_token())
    with _in_one_line(repo_id):
        url = str(api.create_repo(repo_id, private=private, exist_ok=True))
        there = api.model_info(repo_id)
    if private and not there.private:
        raise ValueError(
            f"{url} exists and is public: add `public` to publish this, too, or choose another name"
        )
    uploads = _uploads(files)
    names, old = {u.path_in_repo for u in uploads}, {f.rfilename for f in there.siblings or ()}
    if card is not None and CARD in old - names:
        say(f"{url} keeps the {CARD} that it has")
    elif card is not None and CARD not in names:
        uploads.append(CommitOperationAdd(CARD, card.encode()))
    is_folder = isinstance(files, Path) and files.is_dir()
    replaced = sorted(filter(_is_loaded_first, old - names)) if is_folder else []
    say(f"uploading {', '.join(u.path_in_repo for u in uploads)} to {url}")
    if replaced:
        say(f"in place of {', '.join(replaced)}")
    with _in_one_line(repo_id):
        changes = [*uploads, *(CommitOperationDelete(name, is_folder=False) for name in replaced)]
        api.create_commit(repo_id, changes, commit_message="Upload by Jojo")
    if there.private and not private:
        say(f"{url} was private before and stays so; {url}/settings can make it public")
    return url


def _is_loaded_first(name: str) -> bool:
    """Whether loaders may open it in place of what is uploaded: weights of another layout."""
    is_weights = ".safetensors" in name or name == "adapter_config.json"
    return is_weights and "/" not in name and OF_A_MODEL.fullmatch(name) is not None


def _uploads(files: Path | Sequence[Path]) -> list[CommitOperationAdd]:
    if isinstance(files, Path) and files.is_dir():
        inside = sorted(path for path in files.rglob("*") if path.is_file())
        named = [(path.relative_to(files).as_posix(), path) for path in inside]
    else:
        named = [(path.name, path) for path in ([files] if isinstance(files, Path) else files)]
    return [CommitOperationAdd(name, path) for name, path in named]


@contextmanager
def _in_one_line(repo_id: str) -> Iterator[None]:
    """Whatever the hub or the way there answers as a ValueError, without the token in it."""
    try:
        yield
    except Exception as error:  # many kinds, not all of them documented
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in OUR_FAULT:
            raise
        if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):
            error = error.__cause__  # of one of several uploads
        status = getattr(getattr(error, "response", None), "status_code", None)
        answer = getattr(error, "server_message", None) or str(error)
        answer = answer.replace(huggingface_hub.get_token() or "\0", "(the token)")
        hint = HINTS.get(status, "the export itself is whole; add `overwrite` to try again")
        raise ValueError(
            f"{repo_id} could not be uploaded ({status or type(error).__name__}: "
            f"{' '.join(answer.split())[:200]}): {hint}"
        ) from None  # what is behind it may hold the token

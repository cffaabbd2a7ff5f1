"""Downloads that are verified, and resume where they stopped.

    path = download(("https://a.example/x.zip", "https://b.example/x.zip"), Path("raw/x.zip"))

An unfinished download is <path>.part, beside <path>.part.source, which says what it is a part of;
<path> itself appears only once it is complete.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from jojo.command import say
from jojo.files import sha256 as sha256_of
from jojo.files import sync, sync_folder

CONNECT_SECONDS, READ_SECONDS = 10, 60
ATTEMPTS = 5  # per mirror, as long as each brings something
HUB = "https://huggingface.co"
OUR_FAULT = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)  # another origin won't help


class DownloadError(OSError):
    """No mirror gave the file; the message says what each one answered."""


def download(
    urls: Sequence[str], path: Path, *, sha256: str | None = None, size_bytes: int | None = None
) -> Path:
    """Fetch the first of `urls` that works to `path`, and return it; a whole file is kept.

    What is unknown (sha256, size_bytes) is not checked beyond the server's own Content-Length.
    Raises DownloadError when no mirror has it, OSError when it cannot be written.
    """
    if path.exists() and not _fault(path, sha256, size_bytes):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    answers = []
    for url in urls:
        answer = _from_mirror(url, part) or _fault(part, sha256, size_bytes)
        if answer is None:
            sync(part)
            os.replace(part, path)
            sync_folder(path.parent)
            _source_of(part).unlink(missing_ok=True)
            return path
        if part.exists() and _is_whole(part):  # whole, yet not what it should be
            part.unlink()
        answers.append(f"{url}: {answer}")
        if len(answers) < len(urls):
            say(f"{answers[-1]}; trying the next mirror")
    raise DownloadError(f"could not download {path.name}; tried {'; '.join(answers)}")


def _fault(path: Path, sha256: str | None, size_bytes: int | None) -> str | None:
    size = path.stat().st_size
    if size_bytes is not None and size != size_bytes:
        return f"has {size:,} bytes instead of {size_bytes:,}"
    if sha256 is not None and sha256_of(path) != sha256:
        return "is not the expected file (SHA-256 differs)"
    return None


def _from_mirror(url: str, part: Path) -> str | None:
    """Bring `part` to its full length from `url`; returns why it could not, or None."""
    import requests

    answer = None
    with requests.Session() as session:
        for _ in range(ATTEMPTS):
            before = part.stat().st_size if part.exists() else 0
            try:
                answer = _fetch(session, url, part)
                if answer is None or answer.startswith("HTTP"):
                    return answer
            except requests.RequestException as error:
                answer = _reason(error)
            if (part.stat().st_size if part.exists() else 0) <= before:
                return answer
    return answer


def _reason(error: Exception) -> str:
    text = str(error)
    if "resolve" in text or "Name or service" in text:
        return "host not found"
    if "timed out" in text:
        return "timed out"
    if "refused" in text:
        return "connection refused"
    return f"{type(error).__name__}: {text[:100]}"


def _fetch(session, url: str, part: Path) -> str | None:
    """One request, which appends to `part` where the server agrees. Returns what went wrong."""
    have, validator = _resumable(url, part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    with session.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if response.status_code == 416:  # nothing left to send, or another file by now
            whole = response.headers.get("Content-Range", "").rpartition("/")[2] == str(have)
            if not whole:
                part.unlink()
            return None if whole else "the file changed on the server"
        if response.status_code not in (200, 206):
            return f"HTTP {response.status_code} {response.reason}"
        starts_at = f"bytes {have}-"
        if response.status_code == 200:
            have = 0
        elif not response.headers.get("Content-Range", "").startswith(starts_at):
            part.unlink()
            return "the server sent another range than asked for"
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        _note_source(url, part, response.headers, total)
        got = _append(response, part, have, total)
    if total is not None and got != total:
        return f"the connection ended at {got:,} of {total:,} bytes"
    return None


def _append(response, part: Path, have: int, total: int | None) -> int:
    from tqdm import tqdm

    bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, leave=False)
    with bar, open(part, "ab" if have else "wb") as file:
        for block in response.iter_content(1 << 16):
            have += file.write(block)
            bar.update(len(block))
    return have


def _source_of(part: Path) -> Path:
    return part.with_name(part.name + ".source")


def _note_source(url: str, part: Path, headers, total: int | None) -> None:
    """Write down what `part` is a part of: url, validator, length; a line each."""
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    _source_of(part).write_text(f"{url}\n{validator}\n{total or ''}\n", encoding="utf-8")


def _source(part: Path) -> list[str]:
    try:
        return _source_of(part).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return ["", "", ""]


def _resumable(url: str, part: Path) -> tuple[int, str]:
    """How many bytes of `url` are there already, and the validator that proves it (or 0, "")."""
    source, validator, *_ = _source(part)
    if source != url or not validator or not part.exists():
        return 0, ""
    return part.stat().st_size, validator


def _is_whole(part: Path) -> bool:
    return _source(part)[2] == str(part.stat().st_size)


def hub_answers() -> bool:
    """One quick question first: the hub's own client would try each repository for long."""
    import requests

    try:
        return requests.head(os.environ.get("HF_ENDPOINT", HUB), timeout=10).ok
    except requests.RequestException:
        return False

"""Asking a server many things: no answer is lost, none is asked for twice, no limit is broken.

    with Journal(path) as journal:
        ask_all({"hello": Request(url)}, journal, Manners(most=450), what="words")
        journal["hello"]

Every answer is appended to the journal the moment it is there, one line written and synced at
once, so a run that was killed goes on behind its last answer. What the server was asked within
the last minutes stands there too, so its limit holds across runs as well.
"""

from __future__ import annotations

import itertools
import queue
import random
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from jojo.command import say
from jojo.web.journal import Journal

LONGEST_WAIT_SECONDS = 600  # a server that wants more is asked another day
LONGEST_PAUSE_SECONDS = 120  # between two attempts, where the server names no time
NEVER_ANSWERED_ATTEMPTS = 3  # a server that never gave an answer in this run is probably not there


@dataclass(frozen=True)
class Request:
    url: str
    body: dict | None = None  # sent as JSON with POST; without one it is a GET


@dataclass(frozen=True)
class Manners:
    """How a server is to be asked."""

    sleep_seconds: float = 0.0  # after each request
    most: int | None = None  # requests in any `window_seconds`
    window_seconds: float = 300.0
    retry_seconds: float = 1.0  # before the second attempt; doubles each time
    attempts: int = 10
    timeout_seconds: float = 60.0  # of silence
    concurrency: int = 1
    keep: Callable[[object], object] = lambda answer: answer  # what of an answer is kept
    key: str | None = None  # sent as "Authorization: Bearer", shown and written nowhere


@dataclass(frozen=True)
class _Attempt:
    """What came of one request."""

    answered: bool = False
    answer: object = None
    trouble: str = ""
    wait_seconds: float = 0.0  # what the server asked for


class _Stopped(Exception):
    """The run is over: let this request be."""


class _Pace:
    """Lets requests through one after another, as the server wants it.

    A request has reached the server at some time between being sent and having ended. So the
    next one is sent a whole window after the *end* of the one `most` requests before it, and the
    limit holds however long either was under way. What a killed run left unfinished may have
    reached the server until now.
    """

    def __init__(self, manners: Manners, journal: Journal, notice: Callable[[str], None]):
        self.manners, self.journal, self.notice = manners, journal, notice
        self._changed = threading.Condition()
        self._under_way = 0
        self._not_before = 0.0
        self._stopped = False
        if manners.most:
            for _ in range(journal.unfinished):
                journal.append({"ended": time.time()}, sync=False)
        self._ended = deque(sorted(min(t, time.time()) for t in journal.ended))

    def enter(self) -> None:
        with self._changed:
            while (wait := self._wait_seconds()) > 0 and not self._stopped:
                if wait > 2:
                    self.notice(f"waiting {wait:.0f} s")
                self._changed.wait(wait)
            if self._stopped:
                raise _Stopped
            self._under_way += 1
            if self.manners.most:
                self.journal.append({"sent": 1}, sync=False)

    def leave(self) -> float:
        """Returns when the request ended."""
        with self._changed:
            now = time.time()
            self._under_way -= 1
            self._ended.append(now)
            self._changed.notify_all()
        self.pause(self.manners.sleep_seconds)
        return now

    def pause(self, seconds: float) -> None:
        """Send nothing for so long."""
        with self._changed:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _wait_seconds(self) -> float:
        now, window = time.time(), self.manners.window_seconds
        while self._ended and self._ended[0] < now - window:
            self._ended.popleft()
        most = self.manners.most
        if most and len(self._ended) + self._under_way >= most:
            return min(window, self._ended[0] + window - now) + 0.001 if self._ended else window
        return self._not_before - time.monotonic()


def ask_all(
    requests: Mapping[str, Request],
    journal: Journal,
    manners: Manners,
    *,
    what: str,
    verbose: bool = False,
) -> None:
    """Put the answer to each of `requests` (by question) into the journal, unless it is there.

    ValueError when the server refuses or stays silent; all that it answered is kept.
    """
    waiting = deque(q for q in requests if q not in journal)
    if not waiting:
        return
    kept = len(requests) - len(waiting)
    if kept:
        say(f"{kept:,} of {len(requests):,} {what} are answered already")
    slowest = max(manners.sleep_seconds, manners.window_seconds / (manners.most or 10**9))
    if (minutes := slowest * len(waiting) / 60) > 1:
        say(f"asking for {len(waiting):,} {what} politely takes {minutes:.0f} minutes or more")
    from tqdm import tqdm

    with tqdm(total=len(requests), initial=kept, unit=f" {what}", disable=None) as bar:
        asker = _Asker(requests, journal, manners, waiting, bar.set_postfix_str)
        try:
            for question in asker.run():
                bar.update()
                if verbose:
                    found = "found" if journal[question] else "nothing"
                    bar.write(f"{question}: {found}", file=sys.stderr)
        except KeyboardInterrupt:
            bar.close()
            raise KeyboardInterrupt(f"stopped: {_saved(requests, journal, what)}") from None
        except ValueError as error:
            raise ValueError(f"{error}; {_saved(requests, journal, what)}") from None


def _saved(requests: Mapping[str, Request], journal: Journal, what: str) -> str:
    n = sum(q in journal for q in requests)
    return f"{n:,} of {len(requests):,} {what} are answered and saved: run it again to go on"


class _Asker:
    """The threads that ask; daemons, so that Ctrl+C need not wait for a slow answer."""

    def __init__(self, requests, journal, manners, waiting, notice):
        self.requests, self.journal, self.manners = requests, journal, manners
        self.waiting = waiting
        self.pace = _Pace(manners, journal, notice)
        self.answered = False

    def run(self):
        """Yield each question once its answer is in the journal, in no particular order."""
        n, done = len(self.waiting), queue.SimpleQueue()
        threads = [
            threading.Thread(target=self._work, args=(done,), daemon=True)
            for _ in range(min(n, self.manners.concurrency))
        ]
        for thread in threads:
            thread.start()
        try:
            for _ in range(n):
                if isinstance(result := done.get(), BaseException):
                    self.pace.stop()
                    for thread in threads:  # what is under way is still worth having
                        thread.join(timeout=5)
                    raise result
                yield result
        finally:
            self.pace.stop()

    def _work(self, done: queue.SimpleQueue) -> None:
        import requests

        with requests.Session() as session:
            while True:
                try:
                    question = self.waiting.popleft()
                except IndexError:
                    return
                try:
                    self._ask(session, question)
                except _Stopped:
                    return
                except BaseException as error:  # for the main thread to raise
                    done.put(error)
                    return
                done.put(question)

    def _ask(self, session, question: str) -> None:
        """Ask until there is an answer; ValueError when patience is at its end."""
        for attempt in itertools.count(1):
            self.pace.enter()
            attempted = _Attempt(trouble="stopped")
            try:
                attempted = self._once(session, self.requests[question])
            finally:
                ended = self.pace.leave()
                record: dict[str, object] = {"ended": ended} if self.manners.most else {}
                if attempted.answered:
                    record |= {"question": question, "answer": attempted.answer}
                if record:
                    self.journal.append(record, sync=attempted.answered)
            if attempted.answered:
                self.answered = True
                return
            self._bear(attempted, attempt, self.requests[question].url)

    def _bear(self, attempted: _Attempt, attempt: int, url: str) -> None:
        """Pause after a vain attempt, or give up."""
        attempts, wait = self.manners.attempts, attempted.wait_seconds
        if not (self.answered or attempted.trouble.startswith("HTTP 429")):
            attempts = min(attempts, NEVER_ANSWERED_ATTEMPTS)
        host = urlsplit(without_password(url)).netloc
        if wait > LONGEST_WAIT_SECONDS:
            asked = f"asks to be left alone for {wait:,.0f} s"
            raise ValueError(f"{host} {asked} ({attempted.trouble})")
        if attempt >= attempts:
            raise ValueError(f"{host} gave no answer in {attempt} attempts ({attempted.trouble})")
        backoff = min(self.manners.retry_seconds * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
        backoff *= random.uniform(0.5, 1)  # so that many clients do not come back at once
        self.pace.pause(max(backoff, wait))

    def _once(self, session, request: Request) -> _Attempt:
        import requests

        manners, timeout = self.manners, self.manners.timeout_seconds
        method = "GET" if request.body is None else "POST"
        try:
            response = session.request(
                method,
                request.url,
                json=request.body,
                auth=self._authorize,
                timeout=(min(10, timeout), timeout),
            )
        except requests.RequestException as error:
            if isinstance(error, ValueError):  # no URL at all
                raise ValueError(f"cannot ask {without_password(request.url)}: {error}") from None
            return _Attempt(trouble=_reason(error))
        status = response.status_code
        if status == 404 and request.body is None and _is_json(response):  # no page of a dead host
            return _Attempt(answered=True)
        if status == 200:
            try:
                return _Attempt(answered=True, answer=manners.keep(response.json()))
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                return _Attempt(trouble=f"unexpected answer: {self._shown(response.text)}")
        trouble = f"HTTP {status} {response.reason}"
        if status in (408, 429) or status >= 500:
            wait = retry_after(response.headers.get("Retry-After")) or 0.0
            return _Attempt(trouble=trouble, wait_seconds=wait)
        url = without_password(request.url)
        raise ValueError(f"{url} refuses: {trouble}: {self._shown(response.text)}")

    def _authorize(self, prepared):
        # as `auth`, or requests would put the password of a ~/.netrc in its place
        if self.manners.key:
            prepared.headers["Authorization"] = f"Bearer {self.manners.key}"
        return prepared

    def _shown(self, text: str) -> str:
        text = " ".join(text.split())
        if self.manners.key:
            text = text.replace(self.manners.key, "***")
        return text[:200] or "nothing"


def without_password(url: str) -> str:
    return re.sub(r"//[^/]*@", "//", url)


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header (seconds or a date) asks for; None where it says nothing.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _is_json(response) -> bool:
    try:
        response.json()
    except ValueError:
        return False
    return True


def _reason(error: Exception) -> str:
    text = str(error)
    if "timed out" in text:
        return "timed out"
    if "SSL" in text:
        return "no safe connection: is it http:// and not https://?"
    if "refused" in text:
        return "connection refused: is it running?"
    if "resolve" in text or "Name or service" in text:
        return "host not found"
    return "the connection broke"

"""Ask a server many things: no answer is lost, nothing is asked twice, no limit is exceeded.

    with Journal(path) as journal:
        ask_all({"hello": Request(url)}, journal, Manners(most=450), what="words")
        journal["hello"]

Every answer is in the journal, on the disk, before the next question is sent, so a run that was
killed goes on after its last answer. The requests of the last minutes are recorded there too, so
the server's limit holds across runs.
"""

from __future__ import annotations

import itertools
import queue
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from pyrate_limiter import Rate, RateItem, SQLiteBucket

from jojo.command import say
from jojo.web.journal import Journal

LONGEST_WAIT_SECONDS = 600  # a server that wants longer is left for another day
LONGEST_PAUSE_SECONDS = 120  # between two attempts, if the server names no time
REASONS = {  # by what the error's text holds
    "timed out": "timed out",
    "SSL": "no secure connection: should it be http:// instead of https://?",
    "refused": "connection refused: is it running?",
    "resolve": "host not found",
    "Name or service": "host not found",
}
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
    key: str | None = None  # sent as "Authorization: Bearer", never shown or written


class _Failed(Exception):
    """A request without an answer: what went wrong, and the wait in seconds the server wants."""


class _Stopped(Exception):
    """The run is over: drop this request."""


class _Pace:
    """Lets requests through one after another, at the pace the server wants.

    A request reaches the server at some time between being sent and having ended. So it counts as
    made just now until it has ended, and the limit holds however long it is under way. What a
    killed run left unfinished may have reached the server at any moment until now.
    """

    def __init__(self, manners: Manners, journal: Journal, notice: Callable[[str], None]):
        self.manners, self.journal, self.notice = manners, journal, notice
        self._changed = threading.Condition()
        self._not_before = 0.0
        self._stopped = False
        self._bucket = None
        if manners.most:
            rate = Rate(manners.most, round(manners.window_seconds * 1000))
            with journal.transaction() as connection:
                self._bucket = SQLiteBucket([rate], connection, "requests", lock=journal.lock)
                ended = "UPDATE requests SET name = NULL, item_timestamp = ? WHERE name NOT NULL"
                connection.execute(ended, [self._bucket.now()])

    def enter(self) -> None:
        with self._changed:
            while not self._stopped:
                if (wait := self._admit()) <= 0:
                    return
                if wait > 2:
                    self.notice(f"waiting {wait:.0f} s")
                self._changed.wait(wait)
            raise _Stopped

    def leave(self) -> None:
        if self._bucket:
            with self.journal.transaction() as connection:
                ended = "UPDATE requests SET name = NULL, item_timestamp = ? WHERE name = ?"
                connection.execute(ended, [self._bucket.now(), threading.current_thread().name])
        self.pause(self.manners.sleep_seconds)

    def pause(self, seconds: float) -> None:
        """Send nothing for this long."""
        with self._changed:
            self._not_before = max(self._not_before, time.monotonic() + seconds)
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _admit(self) -> float:
        """Let a request through and return 0 or less, or how long to wait before the next try."""
        wait = self._not_before - time.monotonic()
        if wait > 0 or not self._bucket:
            return wait
        made_now = "name NOT NULL OR item_timestamp > :now"  # under way, or the clock was set back
        with self.journal.transaction() as connection:
            now = self._bucket.now()
            update = f"UPDATE requests SET item_timestamp = :now WHERE {made_now}"
            connection.execute(update, {"now": now})
            self._bucket.leak(now)
            item = RateItem(threading.current_thread().name, now)
            decision = self._bucket.put_decision(item)
        return 0.0 if decision.allowed else decision.retry_after_ms / 1000


def ask_all(
    requests: Mapping[str, Request],
    journal: Journal,
    manners: Manners,
    *,
    what: str,
    verbose: bool = False,
) -> None:
    """Put the answer to each of `requests` (by question) into the journal, unless it is there.

    ValueError if the server refuses or stays silent; every answer up to then is kept.
    """
    waiting = [q for q in requests if q not in journal]
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
        asker = _Asker(requests, journal, manners, bar.set_postfix_str)
        try:
            for question in asker.run(waiting):
                bar.update()
                if verbose:
                    found = "found" if journal[question] else "nothing"
                    bar.write(f"{question}: {found}", file=sys.stderr)
        except (KeyboardInterrupt, ValueError) as error:
            bar.close()
            n = sum(q in journal for q in requests)
            told = f"{str(error) or 'stopped'}; {n:,} of {len(requests):,} {what} are answered and "
            kind = ValueError if isinstance(error, ValueError) else KeyboardInterrupt
            raise kind(told + "saved: run it again to go on") from None


class _Asker:
    """The threads that ask; daemons, so that Ctrl+C need not wait for a slow answer."""

    def __init__(self, requests, journal, manners, notice):
        self.requests, self.journal, self.manners = requests, journal, manners
        self.pace = _Pace(manners, journal, notice)
        self.waiting, self.done = queue.SimpleQueue(), queue.SimpleQueue()
        self.answered = False

    def run(self, waiting: list[str]):
        """Yield each question once its answer is in the journal, in no particular order."""
        n = min(len(waiting), self.manners.concurrency)
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(n)]
        for question in [*waiting, *[None] * n]:
            self.waiting.put(question)
        for thread in threads:
            thread.start()
        try:
            for _ in waiting:
                if isinstance(result := self.done.get(), BaseException):
                    self.pace.stop()
                    for thread in threads:  # answers under way are worth waiting for
                        thread.join(timeout=5)
                    raise result
                yield result
        finally:
            self.pace.stop()

    def _work(self) -> None:
        import requests

        with requests.Session() as session:
            for question in iter(self.waiting.get, None):
                try:
                    self._ask(session, question)
                except BaseException as error:  # for the main thread to raise
                    self.done.put(error)
                    return
                self.done.put(question)

    def _ask(self, session, question: str) -> None:
        """Ask until there is an answer; ValueError when it is time to give up."""
        request = self.requests[question]
        for attempt in itertools.count(1):
            self.pace.enter()
            try:
                self.journal[question] = self._once(session, request)
                self.answered = True
                return
            except _Failed as failed:
                trouble, wait = failed.args
            finally:
                self.pace.leave()
            self._bear(trouble, wait, attempt, request.url)

    def _bear(self, trouble: str, wait: float, attempt: int, url: str) -> None:
        """Pause after a failed attempt, or give up."""
        attempts = self.manners.attempts
        if not (self.answered or trouble.startswith("HTTP 429")):
            attempts = min(attempts, NEVER_ANSWERED_ATTEMPTS)
        host = urlsplit(without_password(url)).netloc
        if wait > LONGEST_WAIT_SECONDS:
            raise ValueError(f"{host} asks to be left alone for {wait:,.0f} s ({trouble})")
        if attempt >= attempts:
            raise ValueError(f"{host} gave no answer in {attempt} attempts ({trouble})")
        backoff = min(self.manners.retry_seconds * 2 ** (attempt - 1), LONGEST_PAUSE_SECONDS)
        backoff *= random.uniform(0.5, 1)  # so that many clients do not come back at once
        self.pace.pause(max(backoff, wait))

    def _once(self, session, request: Request) -> object:
        """The answer; None if there is no such thing, _Failed if none came."""
        import requests

        timeout = self.manners.timeout_seconds
        try:
            response = session.request(
                "GET" if request.body is None else "POST",
                request.url,
                json=request.body,
                auth=self._authorize,
                timeout=(min(10, timeout), timeout),
            )
        except requests.RequestException as error:
            if isinstance(error, ValueError):  # not a URL at all
                raise ValueError(f"cannot ask {without_password(request.url)}: {error}") from None
            raise _Failed(_reason(error), 0) from None
        status = response.status_code
        if status == 404 and request.body is None:
            with suppress(ValueError):  # a page instead of JSON: nothing of the API is there
                response.json()
                return None
        if status == 200:
            try:
                return self.manners.keep(response.json())
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                shown = self._shown(response.text)
                raise _Failed(f"unexpected answer: {shown}", 0) from None
        trouble = f"HTTP {status} {response.reason}"
        if status in (408, 429) or status >= 500:
            raise _Failed(trouble, retry_after(response.headers.get("Retry-After")) or 0)
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
    """Seconds that a Retry-After header (seconds or a date) asks for; None if it says nothing.

    https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
    """
    for seconds_of in (float, lambda date: parsedate_to_datetime(date).timestamp() - time.time()):
        with suppress(ValueError, TypeError):
            return max(0.0, seconds_of(value or ""))
    return None


def _reason(error: Exception) -> str:
    told = (reason for sign, reason in REASONS.items() if sign in str(error))
    return next(told, "the connection broke")

"""Asking a chat model behind an OpenAI-compatible URL: Ollama, llama.cpp, vLLM, our own server.

ask_all({q: chat_request(base, model, messages, 0.3)}, journal, Manners(keep=reply), what="...")
text = usable(journal[q])
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from jojo.data.formats.records import Unusable
from jojo.web.asking import Request

OLLAMA = "http://localhost:11434/v1"
OPENAI = "https://api.openai.com/v1"
# if the model's template opens them, the reply only holds their end
THOUGHTS = re.compile(r"\A.*</think(?:ing)?>|<think(?:ing)?>.*\Z", re.DOTALL)
PASSAGE = r"the (?:passage|text|context|article)"
SHOWN = re.compile(rf"(?:according to|based on|as stated in) {PASSAGE},\s*", re.IGNORECASE)
REFUSAL = re.compile(
    r"(?:unfortunately, |however, )?"
    r"(?:as an ai\b|i(?:'m| am) (?:an ai\b|sorry|afraid|unable|not able)|i apologi[sz]e|sorry,"
    r"|i (?:can(?:no|')t|could not|couldn't|do not|don't) (?:answer|assist|determine|find|help|know"
    r"|provide|have (?:enough|access|any|the|information))"
    rf"|{PASSAGE} (?:does not|doesn't))",
    re.IGNORECASE,
)


def base_url(url: str | None, key: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """The URL that /chat/completions is appended to; one without a path gets /v1.

    In this order: the flag, OPENAI_BASE_URL, OLLAMA_HOST, OpenAI if there is a key, local Ollama.
    """
    url = url or environ.get("OPENAI_BASE_URL")
    if not url and (host := environ.get("OLLAMA_HOST")):
        url = host.replace("0.0.0.0", "127.0.0.1")  # where it listens, not where to find it
        if not re.search(r":\d+/*$", url):
            url = f"{url.rstrip('/')}:11434"
    url = (url or (OPENAI if key else OLLAMA)).strip()
    if "://" not in url:
        url = f"http://{url}"
    if not re.fullmatch(r"https?://[^/\s]+(?:/\S*)?", url):
        raise ValueError(f"`llm_api_url` {url} is not a web address: give one such as {OLLAMA}")
    url = url.rstrip("/").removesuffix("/chat/completions")
    return url if url.count("/") > 2 else f"{url}/v1"


def api_key(key: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    key = (key or environ.get("OPENAI_API_KEY") or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the API key has characters that no key has: copy it again")
    return key or None


def chat_request(
    base: str, model: str, messages: Sequence[dict[str, str]], temperature: float
) -> Request:
    body = {"model": model, "messages": messages, "temperature": temperature, "stream": False}
    return Request(f"{base}/chat/completions", body)


def reply(answer: object) -> dict[str, str]:
    """What is kept of an answer: the text, and why it ended."""
    choice = answer["choices"][0]
    text = choice["message"].get("content") or ""
    if not isinstance(text, str):
        raise TypeError("the content is not text")
    return {"text": text, "finish": choice.get("finish_reason") or ""}


def usable(kept: dict[str, str]) -> str:
    """The reply's text without thoughts; Unusable for one that is cut, empty, or a refusal."""
    text = THOUGHTS.sub("", kept["text"]).strip()
    if len(text) > 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1]:
        text = text[1:-1].strip()
    if kept["finish"] == "length":
        raise Unusable("the model's answer was cut off by the length limit")
    if not text:
        raise Unusable("the model's answer is empty")
    if REFUSAL.match(text.replace("’", "'")):
        raise Unusable("the model refused")
    try:
        text.encode()
    except UnicodeEncodeError:  # half an emoji
        raise Unusable("no valid Unicode") from None
    return SHOWN.sub("", text, count=1) if SHOWN.match(text) else text

"""Our templates in the template languages of other programs: Jinja (Hugging Face), Go (Ollama)."""

from __future__ import annotations

from collections.abc import Sequence

from jojo.text.template import ROLES, TEMPLATES

# Python's whitespace except the space, as written in a Jinja string.
_WHITESPACE = [
    *(r"\n", r"\r", r"\t"),
    *"\x0b\x0c\x1c\x1d\x1e\x1f\x85\u00a0\u1680\u2000\u2001\u2002\u2003",
    *"\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
]


# Jinja, for Hugging Face's tokenizers, turn by turn. These templates do not end a conversation: a
# text to train on also needs <|endoftext|> after its last turn.
def _jinja(roles: Sequence[str], turn: str, opening: str) -> str:
    allowed = ", ".join(roles)
    return (
        "{% for message in messages %}"
        f"{{% if message['role'] not in {list(roles)} %}}"
        f"{{{{ raise_exception('roles are {allowed}, not ' ~ message['role']) }}}}"
        "{% endif %}"
        f"{turn}"
        "{% endfor %}"
        f"{{% if add_generation_prompt %}}{{{{ '{opening}' }}}}{{% endif %}}"
    )


def _jinja_lines(prefix: dict[str, str]) -> str:
    who = f"('{prefix['assistant']} ' if message['role'] == 'assistant' else '{prefix['user']} ')"
    # like `split()`, which llama.cpp's Jinja only has with a text to split at
    spaced = "message['content']" + "".join(f".replace('{c}', ' ')" for c in _WHITESPACE)
    words = f"{spaced}.split(' ') | reject('equalto', '') | join(' ')"
    turn = rf"{{{{ {who} + ({words}) + '\n' }}}}"
    return _jinja(list(prefix), turn, prefix["assistant"])


JINJA = {
    "chatml": _jinja(
        ROLES,
        r"{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '\n<|im_end|>\n' }}",
        r"<|im_start|>assistant\n",
    ),
    **{name: _jinja_lines(TEMPLATES[name].prefix) for name in ("person", "speaker")},
}


def _go_lines(prefix: dict[str, str]) -> str:
    user, assistant = prefix["user"], prefix["assistant"]
    # a reply comes back with the space it began with, so one is added only where there is none
    return (
        '{{ range .Messages }}{{ if ne .Role "system" }}'
        f'{{{{ if eq .Role "user" }}}}{user}{{{{ else }}}}{assistant}{{{{ end }}}}'
        '{{ if ne (printf "%.1s" .Content) " " }} {{ end }}{{ .Content }}\n'
        f"{{{{ end }}}}{{{{ end }}}}{assistant}"
    )


# Go's text/template, for Ollama, up to where the next reply begins.
GO = {
    "chatml": (
        "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}\n<|im_end|>\n{{ end }}"
        "<|im_start|>assistant\n"
    ),
    **{name: _go_lines(TEMPLATES[name].prefix) for name in ("person", "speaker")},
    "text": "{{ range .Messages }}{{ .Content }}{{ end }}",
}

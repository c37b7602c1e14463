"""Which texts are secret, and the Masker that removes them from every text that leaves the process. Pure.

The rules, for every text:

1. Anything in the place of a password is masked, known or not: after `user:` in an address, after `password=`,
   `sslpassword=` and similar, after `Bearer`.
2. A known secret is masked everywhere: as it was written, percent-decoded, percent-encoded, escaped for JSON, HTML, SQL
   or Python, in Base64 or in hexadecimal digits. So is a beginning of it of 16 characters or more, and a shorter
   beginning where a text was cut.
3. A short known secret (4 to 7 characters, not a plain word or a small number) is masked where it is a word by itself.
4. An ordinary secret (a word of fewer than 12 letters, a number of fewer than 6 digits, fewer than 4 characters) is
   masked by rule 1 only: with the password `postgres`, every "postgres" in the log would be masked otherwise.

Code that cuts a text must end it in CUT, so that a secret that was cut is still recognized by its beginning.
"""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK = "•••"
CUT = "…"
SECRET_NAME = re.compile(r"TOKEN|SECRET|PASS|PWD|AUTH|URL|DSN|KEY|CREDENTIAL", re.IGNORECASE)
"""Names of variables that hold a secret."""

_OURS = ("HTTP_TOKEN", "DATABASE_URL", "DATABASE_DIRECT_URL", "REDIS_URL", "PGPASSWORD")
_WITH_A_PASSWORD = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
"""Addresses in which only the password is secret."""
_OF_A_CRASH = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|DSN|_(?:KEY|PASS|URL)$", re.IGNORECASE)

_SHORT, _LONG, _CERTAIN = 4, 8, 16
_ORDINARY = re.compile(r"[A-Za-z][a-z]{0,10}|[A-Z]{1,11}|[0-9]{1,5}")
_FEW = 100
"""Up to this number of words, looking for each one is faster than an index."""
_LEAST_BEFORE_CUT = 3
"""Fewer characters than this reveal nothing of a secret."""
_DEEPEST = 60
"""Levels of a nested value; anything deeper is masked as a whole."""
_LONGEST_KEY, _MOST_KEYS = 60, 1000
"""Keys that are remembered as they are shown."""

_URL_SAFE = str.maketrans("+/", "-_")

_ADDRESS = re.compile(r"([A-Za-z][\w+.-]*)://(.*)", re.DOTALL)
_PARAMETER = re.compile(r"(?:^|[?&;\s])[\w.-]*(?:pass(?:word|wd)?|pwd|secret|token|api_?key)=([^&;\s]+)", re.IGNORECASE)
_CONNINFO = re.compile(r"(?:^|\s)\w*(?:password|secret)\s*=\s*('(?:\\.|[^'\\])*'|(?:\\.|[^\s\\])+)", re.DOTALL)

_IN_AN_ADDRESS = re.compile(r"(://[^\s/:@?#\"'<>]*:)(?!password@)[^\s/?#\"'<>]+@")
_IN_A_CUT_ADDRESS = re.compile(rf"(://[^\s/:@?#\"'<>]*:)(?!\d*{CUT})[^\s/@?#\"'<>]+{CUT}")
_ASSIGNED = re.compile(
    r"""((?<![a-z0-9])(?:ssl|pg)?(?:password|passwd|pwd)\s*=\s*|(?<![a-z0-9])(?:secret|token|api_?key)=)
    (?!\$\{)('(?:\\.|''|[^'\\])+'|"(?:\\.|[^"\\])+"|[^\s&;,'")\]}]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_IN_JSON = re.compile(r'((?:password|passwd|secret|token)"\s*:\s*)"(?:\\.|[^"\\])+"', re.IGNORECASE)
_IN_SQL = re.compile(r"(\b(?:password|identified\s+by)\s+)'(?:''|[^'])+'", re.IGNORECASE)
_BEARER = re.compile(r"\b(Bearer|Basic)\s+(?=\S*\d)[\w.~+/=-]{8,}")
_NAMES = ("passw", "pwd", "secret", "token", "key=", "bearer", "basic", "identified")


def secrets_of(
    environment: Mapping[str, str], *, tokens: Iterable[str] = (), addresses: Iterable[str] = ()
) -> Iterator[str]:
    """The secrets in the variables that the controller reads, and in the proxy variables that its HTTP client reads.

    tokens: names of further variables that hold a secret, as those of a platform. addresses: of those in which only the
    password is one.
    """
    for name in (*_OURS, *tokens):
        yield from _with_and_without_quotes(environment.get(name, ""))
    for name in (*_WITH_A_PASSWORD, *addresses):
        for written in (environment.get(name, ""), environment.get(name.lower(), "")):
            yield from passwords_in(written)


def secrets_of_a_crash(environment: Mapping[str, str]) -> Iterator[str]:
    """The values of all variables whose names suggest a secret: a traceback may quote any of them."""
    yield from secrets_of(environment)
    for name, value in environment.items():
        if _OF_A_CRASH.search(name):
            yield from _with_and_without_quotes(value)


def _with_and_without_quotes(value: str) -> Iterator[str]:
    if value:
        yield value
        yield value.strip().strip("\"'`").strip()


def passwords_in(written: str) -> Iterator[str]:
    """Everything in an address that a client may parse as the password; as written and percent-decoded."""
    if address := _ADDRESS.fullmatch(written.strip()):
        scheme, rest = address[1], address[2]
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        for text in (rest.partition("@")[0], authority.rpartition("@")[0], rest.rpartition("@")[0]):
            user, colon, password = text.partition(":")
            if "@" in rest and colon:
                yield from (password, unquote(password))
            elif "@" in rest and not scheme.startswith("postgres"):
                yield from (user, unquote(user))  # a token by itself; PostgreSQL has names there
    for value in _PARAMETER.findall(written):
        yield from (value, unquote(value), unquote_plus(value))
    for value in _CONNINFO.findall(written):
        yield re.sub(r"\\(.)", r"\1", value[1:-1] if value.startswith("'") else value, flags=re.DOTALL)


class Masker:
    """Knows the secrets of a configuration in all the forms in which they may appear."""

    def __init__(self, secrets: Iterable[str] = (), named: Mapping[str, str] | None = None) -> None:
        """named: from a secret's value to the text shown instead of it, such as `${MY_DB_PASSWORD}`."""
        shown = dict(_forms_of((named or {}).items()))
        for form, mask in _forms_of((secret, MASK) for secret in secrets):
            shown.setdefault(form, mask)
        # The longest first, so that an address is masked as a whole before the password inside it.
        forms = sorted(shown, key=len, reverse=True)
        distinctive = [form for form in forms if _is_distinctive(form)]
        self._everywhere = _by_beginning(distinctive)
        self._words = {
            form: re.compile(rf"(?<![^\W_]){re.escape(form)}(?![^\W_])") for form in forms if _is_a_short_one(form)
        }
        self._beginnings, self._short = _Index(self._everywhere, _LONG), _Index(self._words, _SHORT)
        self._shown = {form: shown[form] for form in (*distinctive, *self._words)}
        self._all = "\0".join(self._shown)
        self._in_json = _by_beginning(filter(_is_in_json, distinctive))
        self._keys: dict[str, str] = {}

    def become(self, other: Masker) -> None:
        """Knows from now on what the other knows: everything that holds this masker goes on with it."""
        self.__dict__.update(other.__dict__)

    def text(self, text: str) -> str:
        """The text with every secret masked."""
        for beginning in self._beginnings.seen_in(text):
            text = _without(text, beginning, self._everywhere[beginning], self._shown)
        for form in self._short.seen_in(text):
            text = self._words[form].sub(self._shown[form], text)
        return _without_passwords(self._without_beginnings(text))

    def value(self, value: Any, depth: int = 0) -> Any:
        """The value (of JSON types) with the secrets masked in all its texts, including keys."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping | list | tuple) and depth > _DEEPEST:
            return MASK
        if isinstance(value, Mapping):
            return {self._key(key): self.value(child, depth + 1) for key, child in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(child, depth + 1) for child in value]
        return value

    def _key(self, key: Any) -> Any:
        """The same few keys stand in every line of a log: each is looked through once."""
        if not isinstance(key, str) or len(key) > _LONGEST_KEY:
            return self.value(key)
        if key not in self._keys:
            if len(self._keys) >= _MOST_KEYS:
                self._keys.clear()
            self._keys[key] = self.text(key)
        return self._keys[key]

    def json_text(self, text: str, *, ids: Collection[str] = ()) -> str:
        """Masks JSON from outside before it is parsed; the result is JSON, too. Numbers are never masked.

        ids: texts that must stay readable, even if a variable with the name of a secret has the same value.
        """
        for beginning, every in self._in_json.items():
            if beginning in text and not any(form in ids for form in every):
                text = _without(text, beginning, every, self._shown)
        return text

    def _without_beginnings(self, text: str) -> str:
        """Masks a beginning of a secret at the end of the text, or before CUT."""
        text = self._without_beginning(text, len(text), _LONG)
        at = text.find(CUT)
        while at >= 0:
            masked = self._without_beginning(text, at, _LEAST_BEFORE_CUT)
            at = masked.find(CUT, at + 1 + len(masked) - len(text))
            text = masked
        return text

    def _without_beginning(self, text: str, end: int, least: int) -> str:
        last = text[max(0, end - least) : end]
        if len(last) < least or last not in self._all:
            return text
        for form, mask in self._shown.items():
            length = _ends_in_beginning(text, end, form, least)
            beginning = form[:length]
            # An ordinary word at the end of a text is most likely just a word; before CUT it may be part of a secret.
            if length and (least < _LONG or not _ORDINARY.fullmatch(beginning)):
                return text[: end - length] + mask + text[end:]
        return text


class _Index:
    """Finds which of many words a text contains, in their order; its time hardly grows with the number of words."""

    def __init__(self, words: Iterable[str], length: int) -> None:
        """length: characters of the shortest word."""
        self._words = list(words)
        self._length = length
        self._by_start: dict[str, list[int]] = {}
        for place, word in enumerate(self._words):
            self._by_start.setdefault(word[:length], []).append(place)

    def seen_in(self, text: str) -> list[str]:
        if len(self._words) <= _FEW:
            return [word for word in self._words if word in text]
        starts = {text[at : at + self._length] for at in range(len(text) - self._length + 1)} & self._by_start.keys()
        places = sorted(place for start in starts for place in self._by_start[start])
        return [self._words[place] for place in places if self._words[place] in text]


def _forms_of(secrets: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for secret, mask in secrets:
        every = [secret, secret.strip(), *passwords_in(secret)]
        every += [unquote(one) for one in every] + [" ".join(secret.split())]
        every += [line.strip() for line in secret.splitlines() if len(line.strip()) >= _CERTAIN]
        for one in dict.fromkeys(every):
            for form in (*_escaped(one), *_encoded(one)):
                if form:
                    yield form, mask


def _escaped(secret: str) -> Iterator[str]:
    """The secret with each kind of escaping in which a text may contain it."""
    yield from (secret, secret.lower(), secret.upper())
    if secret.isalnum() and secret.isascii():
        return
    encodable = secret.encode("utf-8", "replace").decode()
    for percent in (quote(encodable, safe=""), quote(encodable), quote_plus(encodable)):
        yield percent
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), percent)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    escaped = html.escape(secret)
    yield escaped
    yield escaped.replace("&#x27;", "&#39;")
    yield escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
    yield secret.replace("'", "''")
    yield re.sub(r"(['\\])", r"\\\1", secret)
    yield "".join(character if character.isprintable() else "?" for character in secret)


def _encoded(secret: str) -> Iterator[str]:
    """The secret in Base64, at any offset in the encoded text (`user:secret` in Basic), and in hexadecimal digits."""
    if len(secret) < _LONG or "://" in secret:  # the password of an address is a secret of its own
        return
    data = secret.encode("utf-8", "replace")
    for before, first in ((0, 0), (1, 2), (2, 3)):
        written = b64encode(bytes(before) + data).decode()[first : (before + len(data)) * 8 // 6]
        yield written
        yield written.translate(_URL_SAFE)
    yield data.hex()


def _is_distinctive(secret: str) -> bool:
    return len(secret) >= _LONG and not _ORDINARY.fullmatch(secret)


def _is_a_short_one(secret: str) -> bool:
    return _SHORT <= len(secret) < _LONG and not _ORDINARY.fullmatch(secret)


def _least(secret: str) -> int:
    """Characters at its beginning that identify a secret; all of an address, since many addresses begin alike."""
    whole = "://" in secret or "=" in secret or " " in secret or len(secret) < _CERTAIN
    return len(secret) if whole else _CERTAIN


def _by_beginning(forms: Iterable[str]) -> dict[str, list[str]]:
    """The forms grouped by the beginning that identifies them, in their order: forms may differ only at the end."""
    found: dict[str, list[str]] = {}
    for form in forms:
        found.setdefault(form[: _least(form)], []).append(form)
    return found


def _without(text: str, beginning: str, forms: Sequence[str], shown: Mapping[str, str]) -> str:
    """Masks the secrets with this beginning, each as far as it goes on in the text."""
    parts, done = [], 0
    at = text.find(beginning)
    while at >= 0:
        lengths = {form: _in_common(text, at, form) for form in forms}
        form = max(lengths, key=lengths.__getitem__)
        parts += [text[done:at], shown[form]]
        done = at + lengths[form]
        at = text.find(beginning, done)
    return "".join([*parts, text[done:]]) if parts else text


def _in_common(text: str, at: int, form: str) -> int:
    """How many characters of the form are in the text from `at` on."""
    length = 0
    while length < len(form) and at + length < len(text) and text[at + length] == form[length]:
        length += 1
    return length


def _ends_in_beginning(text: str, end: int, secret: str, least: int) -> int:
    """How many characters of the secret's beginning are right before `end`; 0 if fewer than `least`.

    In an address, `least` counts after the scheme, because every address begins with one.
    """
    last = text[end - least : end]
    lowest = secret.find("://") + 3 if "://" in secret else 0
    longest, at = 0, secret.find(last, lowest)
    while at >= 0:
        length = at + least
        if length < len(secret) and text.endswith(secret[:length], 0, end):
            longest = length
        at = secret.find(last, at + 1)
    return longest


def _is_in_json(form: str) -> bool:
    """Whether JSON can contain the form unchanged inside a string; digits could be a number and do not count."""
    try:
        return not form.isdigit() and isinstance(json.loads(f'"{form}"'), str)
    except ValueError:
        return False


def _without_passwords(text: str) -> str:
    """Masks anything in the place of a password (rule 1)."""
    if "://" in text:
        text = _IN_AN_ADDRESS.sub(rf"\1{MASK}@", text)
        text = _IN_A_CUT_ADDRESS.sub(rf"\1{MASK}{CUT}", text)
    lower = text.lower()
    if any(name in lower for name in _NAMES):
        text = _ASSIGNED.sub(rf"\1{MASK}", text)
        text = _IN_JSON.sub(rf'\1"{MASK}"', text)
        text = _IN_SQL.sub(rf"\1'{MASK}'", text)
        text = _BEARER.sub(rf"\1 {MASK}", text)
    return text

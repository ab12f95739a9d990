"""Rules: what becomes of the articles of a source, in the order of its operator. Pure.

One grammar for API, command line and OPML. A rule is an action and its argument, `drop title ~
/sponsored/`; in JSON an object of one field, `{"drop": "title ~ /sponsored/"}`.

    keep CONDITION              drop what does not meet it
    drop CONDITION              drop what meets it
    tag NAME [if CONDITION]     add a tag
    category PATH [if CONDITION]    file under this category alone
    replace FIELDS /PATTERN/TEXT/   replace each match; \\1 to \\9 are groups of the pattern
    strip SELECTOR              remove what CSS or XPath selects from the text

    CONDITION   TEST, or several joined by `and`
    TEST        FIELDS ~ VALUE (contains), !~ (does not), = (is), != (is not)
    FIELDS      title, text, author, category, link; several joined by `,`: one of them
    VALUE       /PATTERN/, "words", or one word

Case does not matter. Patterns are those of RE2, which match in linear time: no expression makes a
document slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2

from service.articles import categories
from service.articles.text import without_forbidden
from service.errors import InvalidInput
from service.sources.selector import CompiledSelector, WrongSelector, compiled

MAX_RULES = 100
MAX_RULE_CHARS = 1_000
MAX_PATTERN_BYTES = 4_000_000
"""Memory that RE2 may use for one pattern."""
MAX_NAME_CHARS = 200
FIELDS = ("title", "text", "author", "category", "link")
KEEP, DROP, TAG, CATEGORY, REPLACE, STRIP = "keep", "drop", "tag", "category", "replace", "strip"
ACTIONS = (KEEP, DROP, TAG, CATEGORY, REPLACE, STRIP)
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_SLASHED = r"/(?:[^/\\]|\\.)*/"
_FIELDS = r"[a-z]+(?:\s*,\s*[a-z]+)*"
_TEST = re.compile(rf"({_FIELDS})\s*(!?[~=])\s*({_SLASHED}|{_QUOTED}|[^\s\"/]\S*)\s*")
_AND = re.compile(r"and\s+")
_NAMED = re.compile(rf"({_QUOTED}|.+?)(?:\s+if\s+(.+))?", re.DOTALL)
_HALF_NAMED = re.compile(r"if(?:\s.*)?|.*\sif", re.DOTALL)
_REPLACEMENT = re.compile(rf"({_FIELDS})\s+({_SLASHED})((?:[^/\\]|\\.)*)/", re.DOTALL)
_ESCAPED = re.compile(r"\\([/\"\\])")
_BYTE = re.compile(r"(?<!\\)(?:\\\\)*\\C")
_GROUP = re.compile(r"\\(.)", re.DOTALL)


class _WrongRule(ValueError):
    """Why a text is not a rule."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of fields of an article with a value."""

    fields: tuple[str, ...]
    """One of them must fit."""
    is_negated: bool
    pattern: Any
    """Compiled; `search` finds it in a value."""

    def fits(self, values: Mapping[str, Sequence[str]]) -> bool:
        """Whether it holds.

        Args:
            values: field → its texts: one each, any number of authors and categories.
        """
        texts = (text for field in self.fields for text in values[field])
        return any(self.pattern.search(text) for text in texts) is not self.is_negated


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that was read."""

    text: str
    """As written: the action and its argument."""
    action: str
    tests: tuple[Comparison, ...] = ()
    """All must hold; none: always."""
    name: str = ""
    """The tag or category."""
    fields: tuple[str, ...] = ()
    """What `replace` changes."""
    pattern: Any = None
    replacement: str = ""
    selector: CompiledSelector | None = None

    def applies(self, values: Mapping[str, Sequence[str]]) -> bool:
        """Whether all tests hold."""
        return all(test.fits(values) for test in self.tests)

    @property
    def tested_fields(self) -> frozenset[str]:
        """The fields that its tests read."""
        return frozenset(field for test in self.tests for field in test.fields)


def checked_rules(value: object) -> list[dict[str, str]]:
    """Check the rules of a source: objects of one field each, or the same as texts; empty for None.

    Raises:
        InvalidInput: names the rule (`rules[2]`), and what is wrong.
    """
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > MAX_RULES:
        raise InvalidInput("rules", value, f"must be a list of at most {MAX_RULES} rules")
    rules = [_object_of(f"rules[{number}]", rule) for number, rule in enumerate(value)]
    for number, (action, argument) in enumerate(pair for rule in rules for pair in rule.items()):
        try:
            read_rule(action, argument)
        except _WrongRule as exc:
            raise InvalidInput(f"rules[{number}]", f"{action} {argument}", str(exc)) from exc
    return rules


def _object_of(field: str, value: object) -> dict[str, str]:
    if isinstance(value, str):
        action, _, argument = value.strip().partition(" ")
        value = {action: argument}
    if not isinstance(value, dict) or len(value) != 1:
        raise InvalidInput(field, value, "must be an object of one action and its argument")
    ((action, argument),) = value.items()
    if action not in ACTIONS:
        raise InvalidInput(field, value, f"no such action; known: {', '.join(ACTIONS)}")
    if not isinstance(argument, str) or not argument.strip() or len(argument) > MAX_RULE_CHARS:
        reason = f"needs an argument of at most {MAX_RULE_CHARS} characters"
        raise InvalidInput(field, value, reason)
    if without_forbidden(argument) != argument:
        raise InvalidInput(field, value, "has characters that no text may have")
    return {action: argument.strip()}


def read_rules(rules: Iterable[Mapping[str, str]]) -> tuple[Rule, ...]:
    """The rules of a source that were checked."""
    return tuple(read_rule(*pair) for rule in rules for pair in rule.items())


def text_of(rule: Mapping[str, str]) -> str:
    """A rule as the command line and OPML write it."""
    return " ".join(part for pair in rule.items() for part in pair)


def categories_of(rules: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    """The categories that rules file articles under, as they spell them."""
    return tuple(rule.name for rule in read_rules(rules) if rule.action == CATEGORY)


@lru_cache(maxsize=1_024)
def read_rule(action: str, argument: str) -> Rule:
    """Read one rule. Raises ValueError, which says what is wrong."""
    text = f"{action} {argument}"
    match action:
        case "keep" | "drop":
            return Rule(text=text, action=action, tests=_condition(argument))
        case "tag" | "category":
            name, tests = _named(argument)
            if action == CATEGORY:
                _check_category(name)
            return Rule(text=text, action=action, name=name, tests=tests)
        case "replace":
            return _replacement(text, argument)
        case _:
            return Rule(text=text, action=action, selector=_selector(argument))


def _condition(text: str) -> tuple[Comparison, ...]:
    tests, rest = [], text.strip()
    while True:
        match = _TEST.match(rest)
        if match is None:
            raise _WrongRule(f"{rest!r} is not a test such as title ~ /pattern/ or link = word")
        fields, operator, value = match.groups()
        pattern = _pattern(value, operator.endswith("="))
        tests.append(Comparison(_fields(fields), operator.startswith("!"), pattern))
        rest = rest[match.end() :]
        if not rest:
            return tuple(tests)
        joined = _AND.match(rest)
        if joined is None:
            raise _WrongRule(f"{rest!r} follows a test: quote words with spaces, join tests by and")
        rest = rest[joined.end() :]


def _fields(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in FIELDS:
            raise _WrongRule(f"there is no field {name}; known: {', '.join(FIELDS)}")
    return names


def _pattern(value: str, is_whole: bool) -> Any:
    """The value of a test as a pattern: one in slashes as it is, other texts letter by letter."""
    if value.startswith("/"):
        text = value[1:-1].replace("\\/", "/")
    else:
        text = re2.escape(_unquoted(value))
    return _compiled(rf"\A(?:{text})\z" if is_whole else text)


def _unquoted(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value


def _compiled(text: str) -> Any:
    if _BYTE.search(text):
        # A replacement could cut a character in half.
        raise _WrongRule(f"/{text}/ has \\C, which is a byte")
    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = MAX_PATTERN_BYTES
    options.log_errors = False
    try:
        return re2.compile(text, options=options)
    except re2.error as exc:
        reason = exc.args[0] if exc.args else exc
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        raise _WrongRule(f"/{text}/ is not a pattern of RE2: {reason}") from exc


def _named(argument: str) -> tuple[str, tuple[Comparison, ...]]:
    match = _NAMED.fullmatch(argument.strip())
    name = _unquoted(match.group(1)).strip() if match else ""
    if match is None or not name or len(name) > MAX_NAME_CHARS:
        raise _WrongRule(f"needs a name of at most {MAX_NAME_CHARS} characters")
    if _HALF_NAMED.fullmatch(match.group(1)):
        raise _WrongRule("lacks a name before `if`, or a condition after it; quote such a name")
    return name, _condition(match.group(2)) if match.group(2) else ()


def _check_category(name: str) -> None:
    try:
        categories.parse(name)
    except InvalidInput as exc:
        raise _WrongRule(f"{name!r} is not a category: it {exc.reason}") from exc


def _replacement(text: str, argument: str) -> Rule:
    match = _REPLACEMENT.fullmatch(argument.strip())
    if match is None:
        raise _WrongRule("must be FIELDS /PATTERN/TEXT/, such as title /^News: //")
    pattern = _compiled(match.group(2)[1:-1].replace("\\/", "/"))
    replacement = match.group(3).replace("\\/", "/")
    for escape in _GROUP.findall(replacement):
        if escape != "\\" and not (escape.isdecimal() and 0 < int(escape) <= pattern.groups):
            reason = f"its text has \\{escape}, but the pattern has {pattern.groups} groups"
            raise _WrongRule(reason)
    return Rule(
        text=text, action=REPLACE, fields=_fields(match.group(1)), pattern=pattern,
        replacement=replacement,
    )  # fmt: skip


def _selector(argument: str) -> CompiledSelector:
    try:
        selector = compiled(argument)
    except WrongSelector as exc:
        raise _WrongRule(f"{argument!r} {exc}") from exc
    if selector.is_of_json:
        raise _WrongRule(f"{argument!r} must be CSS or XPath: texts are markup")
    return selector

"""Selectors: CSS, XPath and JSONPath, by which an operator names parts of a document. Pure.

How a selector begins tells its language: `$` is JSONPath (RFC 9535), a path or a call such as `/`,
`./`, `@href` or `string(` is XPath 1.0, everything else is CSS. `css:` and `xpath:` in front decide
where that is wrong. CSS has two pseudo-elements more, as scrapers know them: `a::attr(href)` is the
value of an attribute, `h2::text` the text of an element without that of the elements in it.

A selector can read its document and nothing else. XPath has the functions of its core library
alone: those of extensions run regular expressions without limits, or make texts of any length.
JSONPath has no `match` and no `search`, whose expressions backtrack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from lxml import etree
from lxml import html as lxml_html

MAX_CHARS = 500
MAX_VALUES = 10_001
"""One more than the entries of a document, so that the rest is noticed."""
JSONPATH, XPATH, CSS = "JSONPath", "XPath", "CSS"
_AXES = (
    "ancestor|ancestor-or-self|attribute|child|descendant|descendant-or-self|following"
    "|following-sibling|parent|preceding|preceding-sibling|self"
)
_XPATH = re.compile(rf"[/@(]|\.(?:/|\.|$)|(?:{_AXES})::|[a-z-]+\(")
_LITERAL = re.compile(r"\"[^\"]*\"|'[^']*'")
_CALL = re.compile(r"([A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?)\s*\(")
# The core library (XPath 1.0, 4), tests of nodes (2.3), and operators that may precede a bracket.
_KNOWN = frozenset(
    {
        "boolean", "ceiling", "concat", "contains", "count", "false", "floor", "id", "lang", "last",
        "local-name", "name", "namespace-uri", "normalize-space", "not", "number", "position",
        "round", "starts-with", "string", "string-length", "substring", "substring-after",
        "substring-before", "sum", "translate", "true",
        "comment", "node", "processing-instruction", "text", "and", "div", "mod", "or",
    }
)  # fmt: skip
# What a selector is tried on before it is stored: a wrong prefix or argument shows when it runs.
_SAMPLE = '<html><body class="a"><p id="b"><a href="c">d</a></p></body></html>'


class WrongSelector(ValueError):
    """A text that is not a selector, or not one for the document; the message says why."""


@dataclass(frozen=True, slots=True)
class CompiledSelector:
    """A selector of one of the three languages."""

    language: str
    """JSONPATH, XPATH or CSS."""
    text: str
    """As written, without `css:` or `xpath:`."""

    @property
    def is_of_json(self) -> bool:
        """Whether it selects in JSON, and not in markup."""
        return self.language == JSONPATH

    def values(self, node: Any) -> list[Any]:
        """What the selector selects in an element or in a JSON value, at most MAX_VALUES, in the
        order of the document: elements and strings, or JSON values.

        Raises:
            WrongSelector: it cannot be used on this document.
        """
        if isinstance(node, str) or (self.is_of_json and not isinstance(node, dict | list)):
            # An item may be a text: then it is all that a selector can name.
            return [node] if self.text in (".", "$") else []
        if self.is_of_json:
            return _in_json(self.text, node)
        # Names in XML have upper case, too.
        is_html = isinstance(node, lxml_html.HtmlElement)
        try:
            result = _xpath_of(self.text, self.language, is_html=is_html)(node)
        except (etree.XPathError, ValueError) as exc:
            raise WrongSelector(str(exc)) from exc
        if isinstance(result, bool):
            raise WrongSelector("a condition selects nothing")
        if isinstance(result, list):
            return [each for each in result[:MAX_VALUES] if _is_selected(each)]
        text = f"{result:g}" if isinstance(result, float) else str(result)
        return [text] if text.strip() else []


@lru_cache(maxsize=4_096)
def compiled(text: str) -> CompiledSelector:
    """Read a selector.

    Raises:
        WrongSelector: it is empty, too long, or not a selector of its language.
    """
    text = text.strip()
    if not text or len(text) > MAX_CHARS:
        raise WrongSelector(f"must be a selector of 1 to {MAX_CHARS} characters")
    selector = _named(text)
    if selector.is_of_json:
        _json_path(selector.text)
        return selector
    if selector.language == XPATH:
        _refuse_unknown_functions(selector.text)
    for root in (lxml_html.document_fromstring(_SAMPLE), etree.fromstring(_SAMPLE)):
        try:
            selector.values(root)
        except WrongSelector as exc:
            raise WrongSelector(f"is not {selector.language}: {exc}") from exc
    return selector


def _named(text: str) -> CompiledSelector:
    for prefix, language in (("css:", CSS), ("xpath:", XPATH)):
        if text.startswith(prefix):
            return CompiledSelector(language, text.removeprefix(prefix).strip())
    if text.startswith("$"):
        return CompiledSelector(JSONPATH, text)
    return CompiledSelector(XPATH if _XPATH.match(text) else CSS, text)


def _refuse_unknown_functions(path: str) -> None:
    for name in _CALL.findall(_LITERAL.sub("''", path)):
        if name not in _KNOWN:
            raise WrongSelector(f"is not XPath 1.0: there is no function {name}()")


def _is_selected(node: Any) -> bool:
    if isinstance(node, str):
        return bool(node.strip())
    # Comments and processing instructions are nodes, too.
    return isinstance(node, etree._Element) and isinstance(node.tag, str)


@lru_cache(maxsize=4_096)
def _xpath_of(text: str, language: str, *, is_html: bool) -> etree.XPath:
    path = _path_of_css(text, is_html=is_html) if language == CSS else text
    return etree.XPath(path, regexp=False, smart_strings=False)


def _path_of_css(text: str, *, is_html: bool) -> str:
    # Imported here, as is jsonpath: few sources have selectors, and every process reads sources.
    import cssselect

    translator = cssselect.HTMLTranslator() if is_html else cssselect.GenericTranslator()
    try:
        paths = [
            translator.selector_to_xpath(selector) + _step_of(selector.pseudo_element)
            for selector in cssselect.parse(text)
        ]
    except (cssselect.SelectorError, RecursionError) as exc:
        raise WrongSelector(str(exc) or "is nested too deeply") from exc
    return " | ".join(paths)


def _step_of(pseudo_element: Any) -> str:
    """The step of a path that a pseudo-element is: a name, or a function with arguments."""
    if pseudo_element is None:
        return ""
    if pseudo_element == "text":
        return "/text()"
    if getattr(pseudo_element, "name", "") == "attr":
        names = [str(token.value) for token in pseudo_element.arguments]
        if len(names) == 1 and re.fullmatch(r"[\w-]+", names[0]):
            return f"/@{names[0]}"
    raise WrongSelector("the pseudo-elements are ::text and ::attr(NAME)")


@cache
def _environment() -> Any:
    """RFC 9535 without its functions of regular expressions, and with bounded recursion."""
    from jsonpath import JSONPathEnvironment

    environment = JSONPathEnvironment(strict=True)
    environment.max_recursion_depth = 100
    for name in ("match", "search"):
        environment.function_extensions.pop(name, None)
    return environment


@lru_cache(maxsize=4_096)
def _json_path(text: str) -> Any:
    from jsonpath.exceptions import JSONPathError

    try:
        return _environment().compile(text)
    except (JSONPathError, RecursionError) as exc:
        # The lines after the first one draw where in the text it is.
        reason = str(exc).partition("\n")[0] or "nested too deeply"
        raise WrongSelector(f"is not JSONPath: {reason}") from exc


def _in_json(text: str, value: Any) -> list[Any]:
    from jsonpath.exceptions import JSONPathError

    values = []
    try:
        for match in _json_path(text).finditer(value):
            values.append(match.obj)
            if len(values) == MAX_VALUES:
                break
    except (JSONPathError, RecursionError) as exc:
        raise WrongSelector(str(exc).partition("\n")[0] or "goes too deep") from exc
    return values

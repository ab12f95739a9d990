"""Apply rules: an entry of a source, through the rules of its operator. Pure.

They see the entry as its source sends it, before it is identified by anything that they change: a
rule that is added or changed later makes no second article. What they change is cleaned after
them, as what a source sends is. See `service.sources.rules` for the grammar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lxml import etree

from service.articles import sanitize, text, tree, urls
from service.articles.article import Entry
from service.articles.text import Plain
from service.sources.rules import CATEGORY, DROP, KEEP, REPLACE, STRIP, TAG, Rule
from service.sources.selector import WrongSelector

# Code is not text, and what is in these is never shown.
_CODE = ("script", "style")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuledEntry:
    """An entry after the rules of its source."""

    entry: Entry
    is_dropped: bool = False
    is_filed: bool = False
    """Whether a rule has set its category, which the source's own settings then do not change."""
    steps: tuple[str, ...] = ()
    """What each rule that applied did, in their order."""


@dataclass(slots=True)
class _Work:
    """An entry on its way through the rules."""

    entry: Entry
    is_filed: bool = False
    steps: list[str] = field(default_factory=list)
    known: dict[str, Sequence[str]] = field(default_factory=dict)
    """Field → its texts, as far as rules have asked for them."""

    def texts(self, name: str) -> Sequence[str]:
        """The texts of a field as people read them."""
        if name not in self.known:
            self.known[name] = _READ[name](self.entry)
        return self.known[name]

    def change(self, name: str, **fields: Any) -> None:
        """Replace fields of the entry, which make up a field of rules."""
        self.entry = replace(self.entry, **fields)
        self.known.pop(name, None)


def apply_rules(entry: Entry, rules: Sequence[Rule]) -> RuledEntry:
    """Apply rules to an entry in their order, up to the one that drops it."""
    if not rules:
        return RuledEntry(entry=entry)
    work = _Work(entry)
    for rule in rules:
        applies = rule.applies({name: work.texts(name) for name in rule.tested_fields})
        if rule.action in (KEEP, DROP):
            if applies is (rule.action == DROP):
                steps = (*work.steps, f"{rule.text}: dropped it")
                return RuledEntry(entry=work.entry, is_dropped=True, steps=steps)
        elif applies and (effect := _EFFECTS[rule.action](work, rule)):
            work.steps.append(f"{rule.text}: {effect}")
    return RuledEntry(entry=work.entry, is_filed=work.is_filed, steps=tuple(work.steps))


def _tag(work: _Work, rule: Rule) -> str:
    if rule.name in work.entry.tags:
        return ""
    work.entry = replace(work.entry, tags=(*work.entry.tags, Plain(rule.name)))
    return f"added the tag {rule.name}"


def _file(work: _Work, rule: Rule) -> str:
    work.is_filed = True
    work.change("category", categories=(Plain(rule.name),))
    return f"filed it under {rule.name}"


def _replace(work: _Work, rule: Rule) -> str:
    changed = [name for name in rule.fields if _REPLACERS[name](work, rule)]
    return f"replaced in {', '.join(changed)}" if changed else ""


def _replaced(rule: Rule, value: str) -> str:
    return str(rule.pattern.sub(rule.replacement, text.without_forbidden(value)))


def _in_title(work: _Work, rule: Rule) -> bool:
    (title,) = work.texts("title")
    changed = _replaced(rule, title)
    if changed != title:
        work.change("title", title=Plain(changed))
    return changed != title


def _in_link(work: _Work, rule: Rule) -> bool:
    (link,) = work.texts("link")
    changed = _replaced(rule, link)
    if changed != link:
        work.change("link", url=changed)
    return changed != link


def _in_names(name: str, attribute: str) -> Callable[[_Work, Rule], bool]:
    def replaced(work: _Work, rule: Rule) -> bool:
        before = work.texts(name)
        after = [_replaced(rule, each).strip() for each in before]
        if after != list(before):
            work.change(name, **{attribute: tuple(Plain(each) for each in after if each)})
        return after != list(before)

    return replaced


def _in_text(work: _Work, rule: Rule) -> bool:
    def pieces(body: Any) -> int:
        return sum(_in_element(element, rule) for element in body.iter(etree.Element))

    return _change_markup(work, pieces, plain=lambda value: _replaced(rule, value)) > 0


def _in_element(element: Any, rule: Rule) -> int:
    """Replace in the text at the start of an element and in the text after it."""
    changes = 0
    for name in ("tail",) if element.tag in _CODE else ("text", "tail"):
        before = getattr(element, name)
        if before and (after := _replaced(rule, before)) != before:
            setattr(element, name, after)
            changes += 1
    return changes


def _strip(work: _Work, rule: Rule) -> str:
    def pieces(body: Any) -> int:
        assert rule.selector  # noqa: S101 -- of this action it is one
        try:
            selected = rule.selector.values(body)
        except WrongSelector:
            return 0
        inside = [
            element
            for element in selected
            if not isinstance(element, str) and element.tag not in ("html", "body")
        ]
        for element in inside:
            # One that was in another is gone with it.
            if element.getparent() is not None:
                element.drop_tree()
        return len(inside)

    count = _change_markup(work, pieces, plain=str)
    return f"removed {count} element{'s' if count > 1 else ''}" if count else ""


def _change_markup(
    work: _Work, change: Callable[[Any], int], *, plain: Callable[[str], str]
) -> int:  # fmt: skip
    """Change the texts of an entry; returns the number of changes.

    Args:
        change: of the <body> of markup.
        plain: of a text without markup.
    """
    changes = 0
    for name in ("content_html", "summary"):
        before = getattr(work.entry, name)
        if not before:
            continue
        if isinstance(before, Plain) or "<" not in before:
            after, count = type(before)(plain(before)), 0
            count = int(after != before)
        else:
            after, count = _changed(before, change)
        if count:
            work.change("text", **{name: after})
            changes += count
    return changes


def _changed(markup: str, change: Callable[[Any], int]) -> tuple[str, int]:
    """(markup, number of changes); none to what lxml would cut or take long for, of which only the
    words are kept anyway (sanitize.py)."""
    body = None if sanitize.has_huge_tag(markup) else tree.body_of(markup)
    if body is None or not (count := change(body)):
        return markup, 0
    return tree.markup_of(body), count


def _text(entry: Entry) -> Iterator[str]:
    for value in (entry.summary, entry.content_html):
        if isinstance(value, Plain):
            yield text.without_forbidden(value)
        elif value:
            yield text.plain_text(text.without_scripts(text.without_forbidden(value)))


def _link(entry: Entry) -> str:
    return urls.url(entry.url, base_url=entry.base_url) or text.line(Plain(entry.url))


_READ: dict[str, Callable[[Entry], Sequence[str]]] = {
    "title": lambda entry: (text.line(entry.title),),
    "text": lambda entry: tuple(_text(entry)),
    "author": lambda entry: tuple(map(text.line, entry.authors)),
    "category": lambda entry: tuple(map(text.line, entry.categories)),
    "link": lambda entry: (_link(entry),),
}
_REPLACERS: dict[str, Callable[[_Work, Rule], bool]] = {
    "title": _in_title,
    "text": _in_text,
    "author": _in_names("author", "authors"),
    "category": _in_names("category", "categories"),
    "link": _in_link,
}
_EFFECTS: dict[str, Callable[[_Work, Rule], str]] = {
    TAG: _tag,
    CATEGORY: _file,
    REPLACE: _replace,
    STRIP: _strip,
}

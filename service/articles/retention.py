"""Retention: which articles an archive keeps, by age and by number, for all or by category. Pure.

    730d, Media Center/Harbour News=90d 5000 articles, archive=keep

Each category of an article is governed by the nearest rule at or above it, and the article is kept
while any of its categories keeps it. A rule keeps what is within both of its limits; what no rule
governs is kept.

A limit of either kind comes down to a floor: publication time and id of the oldest article that is
kept. So the decision about an article is a comparison.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.articles import categories, times
from service.errors import InvalidInput

Floor = tuple[float, str]
"""(published in ms, id) of the oldest article that is kept, in the order of feeds."""
KEEPS_ALL: Floor = (float("-inf"), "")
KEEP = "keep"
MAX_DAYS = 36_500
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LIMITS = re.compile(r"(?:([0-9]{1,6}) ?([hdw]))?(?:(?:^| +)([0-9]{1,9}) articles?)?")
_FORM = "needs an age such as 90d, 12w or 48h, a number such as `5000 articles`, both, or `keep`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is kept of one category and those below it."""

    path: str
    """A category path, or `all`."""
    max_age: timedelta | None = None
    """Age since publication; None for no limit."""
    max_articles: int | None = None
    """Only the newest of the category's own page, those of the categories below included; None for
    no limit."""

    def __str__(self) -> str:
        limits = []
        if self.max_age is not None:
            hours = int(self.max_age / _UNITS["h"])
            limits.append(f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h")
        if self.max_articles is not None:
            limits.append(f"{self.max_articles} articles")
        return f"{self.path}={' '.join(limits) or KEEP}"

    def floor(self, oldest: Floor | None, *, now: datetime) -> Floor:
        """The floor of both limits.

        Args:
            oldest: the last of the `max_articles` newest articles; None if there are fewer.
        """
        floors = [KEEPS_ALL]
        if self.max_age is not None:
            floors.append((float(times.to_ms(now - self.max_age)), ""))
        if self.max_articles is not None and oldest is not None:
            floors.append(oldest)
        return max(floors)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The rules of an archive, one for each path; without rules everything is kept."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def parse(cls, text: str) -> RetentionPolicy:
        """Read rules that are separated by commas; a rule without a category is for `all`.

        Raises:
            InvalidInput: names the rule that is wrong.
        """
        rules: dict[str, Rule] = {}
        for part in filter(None, map(str.strip, text.split(","))):
            rule = _rule(part)
            if rule.path in rules:
                raise InvalidInput("policy", part, f"{rule.path} has two rules")
            rules[rule.path] = rule
        return cls(tuple(rules.values()))

    def __str__(self) -> str:
        return ", ".join(map(str, self.rules))

    def rule_of(self, path: str) -> Rule | None:
        """The rule that governs a category: its own, else that of the nearest category above."""
        by_path = {rule.path: rule for rule in self.rules}
        while path and path not in by_path:
            path = path.rpartition("/")[0]
        return by_path.get(path) or by_path.get(categories.ALL)

    def is_expired(self, floors: Mapping[str, Floor], place: Floor, paths: Sequence[str]) -> bool:
        """Whether none of an article's categories keeps it.

        Args:
            floors: path of each rule → its floor.
            place: the article's publication time and id.
            paths: its categories; without any it is governed by the rule of `all`.
        """
        rules = [self.rule_of(path) for path in paths or (categories.ALL,)]
        return all(rule is not None and place < floors[rule.path] for rule in rules)


def _rule(text: str) -> Rule:
    spelling, mark, limits = text.rpartition("=")
    path = _path(spelling.strip(), text) if mark else categories.ALL
    limits = limits.strip().lower()
    if limits == KEEP:
        return Rule(path=path)
    match = _LIMITS.fullmatch(limits)
    if not match or not limits:
        raise InvalidInput("policy", text, _FORM)
    number, unit, count = match.groups()
    if count is not None and not int(count):
        raise InvalidInput("policy", text, "a category keeps one article at least")
    return Rule(
        path=path,
        max_age=_age(int(number), unit, text) if number else None,
        max_articles=int(count) if count else None,
    )


def _age(number: int, unit: str, text: str) -> timedelta:
    if not timedelta(0) < number * _UNITS[unit] <= timedelta(days=MAX_DAYS):
        raise InvalidInput("policy", text, f"an age is from 1h to {MAX_DAYS}d")
    return number * _UNITS[unit]


def _path(spelling: str, text: str) -> str:
    if spelling.casefold() == categories.ALL:
        return categories.ALL
    try:
        return categories.parse(spelling).path
    except InvalidInput as exc:
        raise InvalidInput("policy", text, f"its category {exc.reason}") from exc

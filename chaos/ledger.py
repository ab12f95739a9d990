"""The ledger: what was acknowledged, what is uncertain, what went wrong, and during which fault.

Pure: callers pass the time. A publisher that got 200 or 201 has a promise. After a 503, or a lost
connection, the write may have been done or not, and a request that was under way may be done later
still: such a content is one that the article may have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

WITHDRAWN = "(withdrawn)"
"""The content of an article that was withdrawn; that of others is their title."""
QUIET = "(between faults)"
MAX_SHOWN_CHARS = 400


@dataclass(slots=True, kw_only=True)
class Record:
    """One article, as its publisher knows it."""

    guid: str
    category: str
    article_id: str = ""
    """Empty until an answer named it."""
    acked: str | None = None
    """The content acknowledged last; None if none was."""
    maybe: set[str] = field(default_factory=set)
    """Contents that were sent and not acknowledged, or only when they were sent again."""
    is_owed: bool = False
    """What was acknowledged may be lost with the end of the file, and is to be sent again."""

    @property
    def allowed(self) -> set[str]:
        """Contents that the article may have now."""
        return self.maybe | ({self.acked} if self.acked is not None else set())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """An acknowledged change."""

    guid: str
    content: str
    at_s: float


@dataclass(slots=True)
class Row:
    """What came of one fault."""

    count: int = 0
    recovery_s: float = 0.0
    """The longest one."""
    slowest: str = ""
    """The role that it was waited for."""
    unavailable: int = 0
    """Answers 503, to publishers and readers."""
    lost_connections: int = 0
    violations: int = 0


class Ledger:
    """Everything that is known of a run."""

    def __init__(self, *, on_violation: Callable[[str], None]) -> None:
        self.records: dict[str, Record] = {}
        """Guid → article."""
        self.acks: dict[str, Ack] = {}
        """Event id → what it acknowledged first."""
        self.rows: dict[str, Row] = {}
        """Name of a strike → what came of it."""
        self.violations: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        """What was requested, and the status."""
        self.strike = QUIET
        """What happens now is put down to this one."""
        self.has_cut = False
        """Whether the end of the file was cut off: events that were seen may be gone."""
        self.newest_ack_s = 0.0
        self._on_violation = on_violation

    @property
    def row(self) -> Row:
        """The row of the present strike."""
        return self.rows.setdefault(self.strike, Row())

    @property
    def owed(self) -> list[Record]:
        """Articles whose content must be sent again."""
        return [record for record in self.records.values() if record.is_owed]

    def began(self, strike: str) -> None:
        """Note the beginning of a strike."""
        self.strike = strike
        self.row.count += 1

    def recovered(self, seconds: float, slowest: str) -> None:
        """Note that everything works again after the present strike."""
        if seconds >= self.row.recovery_s:
            self.row.recovery_s, self.row.slowest = seconds, slowest

    def violate(self, kind: str, what: object) -> None:
        """Note that a promise was broken, and say so at once."""
        self.violations[kind] += 1
        self.row.violations += 1
        self._on_violation(f"{kind}: {str(what)[:MAX_SHOWN_CHARS]} [{self.strike}]")

    def answered(self, what: str, status: int, *, has_retry_after: bool, text: str = "") -> None:
        """Count an answer that is not a success; 5xx other than 503 is a violation."""
        self.statuses[f"{what} {status}"] += 1
        if status == 503:
            self.row.unavailable += 1
            if not has_retry_after:
                self.violate("503 without Retry-After", f"{what}: {text}")
        else:
            self.violate(f"answered {status}", f"{what}: {text}")

    def lost_connection(self, what: str) -> None:
        """Count a request that got no answer."""
        self.statuses[f"{what} without an answer"] += 1
        self.row.lost_connections += 1

    def uncertain(self, record: Record, content: str) -> None:
        """Note that a change was not acknowledged: from now on it may be done at any time."""
        record.maybe.add(content)

    def acked(
        self, record: Record, content: str, *, article_id: str, event_id: str, now_s: float
    ) -> None:
        """Note an answer 200 or 201; the id of an article never changes."""
        if record.article_id not in ("", article_id):
            self.violate("an article changed its id", f"{record.article_id} → {article_id}")
        record.article_id, record.acked, record.is_owed = article_id, content, False
        self.acks.setdefault(event_id, Ack(guid=record.guid, content=content, at_s=now_s))
        self.newest_ack_s = max(self.newest_ack_s, now_s)

    def cut(self, *, since_s: float, until_s: float) -> int:
        """Take back what was acknowledged in between; its articles are owed to their publishers.

        Returns:
            The number of articles.
        """
        self.has_cut = True
        gone = {
            event_id: ack for event_id, ack in self.acks.items() if since_s <= ack.at_s <= until_s
        }
        for event_id, ack in gone.items():
            del self.acks[event_id]
            self.records[ack.guid].is_owed = True
        return len({ack.guid for ack in gone.values()})

    def table(self) -> str:
        """One line for each fault."""
        lines = [
            "| fault | times | longest recovery | waited for | 503 | no answer | violations |",
            "|---|---:|---:|---|---:|---:|---:|",
        ]
        lines += [_line(name, row) for name, row in sorted(self.rows.items())]
        total = Row(
            count=sum(row.count for row in self.rows.values()),
            recovery_s=max((row.recovery_s for row in self.rows.values()), default=0.0),
            unavailable=sum(row.unavailable for row in self.rows.values()),
            lost_connections=sum(row.lost_connections for row in self.rows.values()),
            violations=self.violations.total(),
        )
        return "\n".join([*lines, _line("all", total)])

    def by_content(self) -> Counter[str]:
        """Numbers of articles: acknowledged, withdrawn, uncertain."""
        return Counter(map(_state, self.records.values()))


def _state(record: Record) -> str:
    if record.acked is None:
        return "uncertain"
    return "withdrawn" if record.acked == WITHDRAWN else "acknowledged"


def _line(name: str, row: Row) -> str:
    recovery = f"{row.recovery_s:.1f} s" if row.recovery_s else ""
    figures = (row.unavailable, row.lost_connections, row.violations)
    numbers = " | ".join(str(number) if number else "" for number in figures)
    return f"| {name} | {row.count or ''} | {recovery} | {row.slowest} | {numbers} |"


def doubled(names: Iterable[str]) -> list[str]:
    """Names that come more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def first_disorder(seen: list[str], expected: list[str]) -> str:
    """Compare names, each once, with the order that they should have; empty if it is theirs.

    Args:
        seen: without those that are not in `expected`.
    """
    for number, (name, wanted) in enumerate(zip(seen, expected, strict=False)):
        if name != wanted:
            return f"number {number} is {name}, not {wanted}"
    return f"{len(expected) - len(seen)} are missing" if len(seen) < len(expected) else ""

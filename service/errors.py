"""Every error that crosses a module border, in one tree.

    DatelineError
    ├── InvalidInput        the client's fault: an unusable value; names the field and the value
    │   └── NotPermitted    the client's fault: a value that its token does not cover
    ├── ScopeMissing        the client's fault: its token lacks the scope that is named
    ├── InvalidSettings     the operator's fault: lists all wrong settings at once
    ├── Unavailable         Redis cannot read or write now; try again after `retry_after_s`
    ├── NoAnswer            our workers do not answer; try again after `retry_after_s`
    ├── TooManyReads        the client's fault: it has too many costly reads; `retry_after_s`
    ├── NotFound            no such article, category, page, source or webhook
    │   └── Gone            an article that was withdrawn, erased or removed
    ├── ParseFailed         the publisher's fault: a document that cannot be parsed
    ├── FetchFailed         the server's fault: no document at a URL; `permanent`: do not retry
    └── StartFailed         our fault: a process cannot start (port in use, no redis-server, …)

A message names the thing, the value and, if one exists, the remedy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


class DatelineError(Exception):
    """Root of the tree; its text may be shown to the person who caused the error."""


class InvalidInput(DatelineError):
    """`field` has a `value` that is not accepted, for the `reason` given."""

    def __init__(self, field: str, value: object, reason: str) -> None:
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        super().__init__(f"{field}: {reason} (got {shown})")
        self.field = field
        self.value = shown
        self.reason = reason


class NotPermitted(InvalidInput):
    """`field` holds `value`, which is outside the bounds of the token that came with it."""


class ScopeMissing(DatelineError):
    """The token is known, but a request of this kind needs another `scope`."""

    def __init__(self, scope: str) -> None:
        super().__init__(f"this needs a token with the scope {scope}")
        self.scope = scope


class InvalidSettings(DatelineError):
    """Some settings are wrong; `faults` has one line for each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class Unavailable(DatelineError):
    """Storage cannot serve now; the same call may succeed later.

    `advice` says what an operator must do; it is empty if the fault passes by itself.
    """

    def __init__(self, message: str, *, retry_after_s: int = 5, advice: str = "") -> None:
        super().__init__(f"{message}; {advice}" if advice else message)
        self.retry_after_s = retry_after_s
        self.advice = advice


class NoAnswer(DatelineError):
    """No worker of ours did what was asked for; the text says why, and what an operator can do."""

    retry_after_s = 10


class NotFound(DatelineError):
    """No article, category, page, source or webhook has the name that was given."""


class Gone(NotFound):
    """The article is not here any more: it was withdrawn, erased, or removed by retention."""


class TooManyReads(DatelineError):
    """`client` has as many costly reads as one may have; try again after `retry_after_s`."""

    def __init__(self, client: str, *, most: int, retry_after_s: int) -> None:
        super().__init__(f"at most {most} costly reads of one client wait at the same time")
        self.client = client
        self.retry_after_s = retry_after_s


class ParseFailed(DatelineError):
    """The bytes are not a document of a known format, or are too broken to parse."""


class FetchFailed(DatelineError):
    """No document could be fetched from `url`; if `permanent`, a retry is useless."""

    def __init__(self, url: str, reason: str, *, permanent: bool = False) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason
        self.permanent = permanent


class StartFailed(DatelineError):
    """A process cannot start; the text is the one line that the operator sees."""


def refuse_unknown_fields(names: Iterable[str], known: Collection[str]) -> None:
    """Raise InvalidInput for the first name that is not known.

    The value is not repeated: under a misspelled name it may be a secret.
    """
    for name in names:
        if name not in known:
            raise InvalidInput(name, "…", f"no such field; known: {', '.join(known)}")

"""Every error that crosses a module border, in one tree.

    DatelineError
    ├── InvalidInput        theirs: a value that cannot be taken; names the field and the value
    │   └── NotPermitted    theirs: a value that their token does not cover
    ├── ScopeMissing        theirs: a request that their token does not cover; names the scope
    ├── InvalidSettings     the operator's: all wrong settings at once
    ├── Unavailable         Redis cannot take or give anything now; try again after `retry_after_s`
    ├── NotFound            no such article, category, page, source or webhook
    ├── ParseFailed         theirs: a document that nothing can be made of
    ├── FetchFailed         theirs: a URL could not be had; `permanent` says whether to try again
    └── StartFailed         ours: a process cannot start (port taken, no redis-server, …)

A message names the thing, the value and, where there is one, the remedy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


class DatelineError(Exception):
    """Root of the tree; its text is fit to be shown to the person who caused it."""


class InvalidInput(DatelineError):
    """`field` holds `value`, which cannot be taken because of `reason`."""

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
    """One line for each wrong setting, in `faults`."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class Unavailable(DatelineError):
    """Storage cannot serve now; the same call may go through later.

    `advice` is what an operator has to do about it, empty for what passes by itself.
    """

    def __init__(self, message: str, *, retry_after_s: int = 5, advice: str = "") -> None:
        super().__init__(f"{message}; {advice}" if advice else message)
        self.retry_after_s = retry_after_s
        self.advice = advice


class NotFound(DatelineError):
    """The named thing does not exist here."""


class ParseFailed(DatelineError):
    """Bytes are no document that we know, or are broken beyond reading."""


class FetchFailed(DatelineError):
    """A document could not be had from `url`."""

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

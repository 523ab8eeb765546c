"""Names and sentences of the user's, made safe for one line of a format."""

from __future__ import annotations

import re

from gradproof.report.steps_text import shorten

#: Letters of a name, and of a sentence, that are shown.
NAME, SENTENCE = 80, 600

_MARKDOWN = re.compile(r"[\\`*_{}\[\]#|~$!]")
#: What GitHub makes a link or a mention of without being asked.
_LINKS = re.compile(r":(?=//)|(?<=www)\.|@", re.IGNORECASE)


def one_line(text: str, limit: int = SENTENCE) -> str:
    r"""The text without control characters, shortened in the middle.

    >>> one_line("a\nb\x1b[31m")
    'a\\nb\\x1b[31m'
    """
    # First roughly, so that a name of a million characters costs nothing.
    shown = (
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii")
        for c in shorten(text, 4 * limit)
    )
    return shorten("".join(shown), limit)


def markdown(text: str, limit: int = SENTENCE) -> str:
    r"""The text as GitHub's Markdown shows it, in a table or out of it; neither HTML nor links.

    >>> markdown("<script>a|b_c")
    '&lt;script&gt;a\\|b\\_c'
    """
    plain = one_line(text, limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = _MARKDOWN.sub(r"\\\g<0>", plain)
    return _LINKS.sub(lambda match: f"&#{ord(match[0])};", escaped)


def markdown_code(text: str, limit: int = SENTENCE) -> str:
    r"""The text as a block of code, in which Markdown obeys nothing.

    >>> markdown_code("pytest 'test_it.py::test_it[*]'")
    "```sh\npytest 'test_it.py::test_it[*]'\n```"
    """
    plain = one_line(text, limit)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", plain)), default=0))
    return f"{fence}sh\n{plain}\n{fence}"


def annotation(text: str, limit: int = SENTENCE) -> str:
    r"""The message of a GitHub annotation.

    >>> annotation("50 %\n::error::")
    '50 %25\\n::error::'
    """
    return one_line(text, limit).replace("%", "%25")


def annotation_property(text: str, limit: int = NAME) -> str:
    """A property of a GitHub annotation, such as its file."""
    plain = one_line(text, limit).replace("%", "%25")
    return plain.replace(":", "%3A").replace(",", "%2C")

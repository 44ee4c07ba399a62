"""The URIs of files: how long they are at most, and which ones a ModelVersion may name."""

import re

LONGEST_URI = 2048
"""Characters of a URI; the policy's artifacts.uri is so much shorter that what steps append always fits."""

_STORED = re.compile(r"(file:///|(s3|gs)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/|$))[!-~]*")
_FORBIDDEN = re.compile(r"[?#%@\\]|(^|/)[.][.]?(/|$)")


def is_uri(text: str) -> bool:
    """Tell whether a ModelVersion may name an artifact so: no credentials, no query; the CRD has the same rule."""
    return len(text) <= LONGEST_URI and _STORED.fullmatch(text) is not None and _FORBIDDEN.search(text) is None

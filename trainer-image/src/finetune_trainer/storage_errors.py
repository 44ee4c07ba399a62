"""What file systems and the clients of stores raise, in words: what, where, and how to mend it."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from . import local_files
from .errors import ErrorClass, Reason, StepError, bad_input

_CONFIGURATION: Final = re.compile(
    r"NoCredentials|InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|Forbidden|InvalidBucketName|NoSuchBucket"
    r"|DefaultCredentialsError|anonymous caller",
    re.IGNORECASE,
)
"""Wordings of the object stores' clients for what a retry cannot mend."""


@contextmanager
def translated(uri: str, action: str) -> Iterator[None]:
    """Turn the file systems' many exceptions into the two that matter: bad input, or try again later."""
    try:
        yield
    except (StepError, FileExistsError):
        raise
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        what = "it is a folder where a file is to be" if isinstance(error, IsADirectoryError) else "it does not exist"
        raise bad_input(
            Reason.DATA_UNREADABLE,
            f"Cannot {action} {uri}: {what}.",
            "Check the place (of a run: the URI in its policy), and that the volume or bucket is the one meant; a "
            "folder that has the name of a file is to be moved away.",
        ) from error
    except (PermissionError, ImportError) as error:
        raise _no_access(uri, action, error) from error
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.ENAMETOOLONG:
            message, remedy = (
                f"Cannot {action} {uri}: a name in it is too long.",
                "Check the place, or shorten its name.",
            )
            raise bad_input(Reason.DATA_UNREADABLE, message, remedy) from error
        if number == errno.EROFS or _CONFIGURATION.search(f"{type(error).__name__} {error}"):
            raise _no_access(uri, action, error) from error
        if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        message, remedy = f"Cannot {action} {uri}: {type(error).__name__}: {error}.", _AWAY
        if local_files.is_full(error):  # a mounted place, or the disk that a bucket's object is copied to
            remedy = _FULL
        raise StepError(ErrorClass.UNAVAILABLE, Reason.STORAGE_UNAVAILABLE, message, remedy) from error


_AWAY: Final = (
    "Check that the storage is up and reachable from here (AWS_ENDPOINT_URL, the network), and where its certificate "
    "is not a public one that AWS_CA_BUNDLE names a file with its authority. The operator tries a step again."
)
_FULL: Final = "Make room there, or where it is copied to (/finetune/scratch of a pod). The operator tries it again."

_CLIENTS: Final = frozenset({"botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "asyncio", "fsspec", "s3fs"})
"""Packages whose errors mean that the storage is away."""


def _no_access(uri: str, action: str, error: Exception) -> StepError:
    return bad_input(
        Reason.DATA_UNREADABLE,
        f"Cannot {action} {uri}: {type(error).__name__}: {error}.",
        "Give access: to a pod by service account or envFrom (buckets), or by file modes and fsGroup (volumes); to a "
        "command of yours by AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL, or (gs://) by "
        "GOOGLE_APPLICATION_CREDENTIALS.",
    )

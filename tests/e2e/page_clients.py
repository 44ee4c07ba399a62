"""Runs in the workbench pod: posts each of some pages through the Service, again and again, and counts the answers.

`python3 -c SCRIPT HOST[:PORT]`; the first line of standard input is a JSON object of pages in base64 by name; at its
end the clients stop. Prints one JSON object: of each name, how often which answer came. Standard library only.
"""

import base64
import http.client
import json
import sys
import threading
from collections import Counter

PAUSE_SECONDS = 0.5
TIMEOUT_SECONDS = 60


def post(host: str, page: bytes) -> str:
    """Post one page on a connection of its own, once; return the status, and the version or the reason."""
    connection = http.client.HTTPConnection(host, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", "/predict", page)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        which = said["model"]["version"] if answer.status == 200 else said["error"]["reason"]
        return f"{answer.status} {which}"
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        return f"lost: {error!r}"
    finally:
        connection.close()


def client(host: str, page: bytes, answers: Counter[str], stopped: threading.Event) -> None:
    """Post the page until told to stop."""
    while not stopped.wait(PAUSE_SECONDS):
        answers[post(host, page)] += 1


def main() -> None:
    """Run until standard input ends."""
    pages = {name: base64.b64decode(text) for name, text in json.loads(sys.stdin.readline()).items()}
    stopped = threading.Event()
    answers: dict[str, Counter[str]] = {name: Counter() for name in pages}
    threads = [
        threading.Thread(target=client, args=(sys.argv[1], page, answers[name], stopped))
        for name, page in pages.items()
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stopped.set()
    for thread in threads:
        thread.join()
    print(json.dumps(answers))


if __name__ == "__main__":
    main()

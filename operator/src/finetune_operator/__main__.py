"""Start the operator: the environment becomes its configuration, logs become JSON lines."""

import asyncio
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Final

from .controller.app import Ended, run
from .controller.config import BadConfiguration, Config, configure
from .controller.decision_log import FIELDS

EXTRAS: Final = ("kind", "namespace", "object", *FIELDS)
QUIET: Final = ("kopf._cogs.clients", "kopf._cogs.aiokits", "kopf._core.reactor")
"""What kopf says of each try and each part of a watch; controller/scopes.py says once what it comes to."""


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what it is about."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as one line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in EXTRAS if hasattr(record, name)},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to(level: str) -> None:
    """Send all logs to standard error; libraries speak only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("finetune_operator").setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING if level == "debug" else logging.CRITICAL)


def main() -> int:
    """Run until SIGTERM; return the exit status (0 stopped, 1 a part died, 2 bad configuration)."""
    try:
        config: Config = configure(os.environ)
    except BadConfiguration as error:
        print(f"finetune-operator: {error}", file=sys.stderr)
        return 2
    log_to(config.log_level)
    try:
        asyncio.run(run(config))
    except Ended:
        logging.getLogger("finetune_operator").exception("the operator ends")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

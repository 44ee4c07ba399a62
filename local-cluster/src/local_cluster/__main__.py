"""`python3 -m local_cluster`."""

import os
import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

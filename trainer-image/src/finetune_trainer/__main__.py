"""`python -m finetune_trainer` is the console script `finetune-trainer`."""

import sys

from .cli import main

sys.exit(main())

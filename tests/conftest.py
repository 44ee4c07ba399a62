"""Settings of all suites: the same examples each time in `make test`; HYPOTHESIS_PROFILE=explore looks for new ones."""

import os

from hypothesis import settings

# No deadline: how long an example takes says more about the machine's other work than about the code.
settings.register_profile("house", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))

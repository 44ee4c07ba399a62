"""The benchmarks of the trainer start: nothing else runs them."""

import pytest

from house.benchmarks import of_environment, usage_of


@pytest.mark.parametrize(("module", "path"), of_environment("trainer-dev"))
def test_a_benchmark_starts_as_the_makefile_starts_it(module: str, path: str) -> None:
    assert "usage: " in usage_of(module, path)

"""These tests judge programs; where the kernel refuses to isolate them they say so and are skipped."""

import pytest

from passkwh.benchmarks.sandbox import missing_layers

JUDGES_NOTHING = ("test_parts", "test_extract", "test_environment")


@pytest.fixture(autouse=True, scope="module")
def isolation(request):
    if not request.module.__name__.endswith(JUDGES_NOTHING) and (missing := missing_layers()):
        pytest.skip(f"the kernel refuses layers of the sandbox here: {missing}")

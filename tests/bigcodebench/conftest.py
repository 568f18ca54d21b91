"""Most of these tests judge programs; where the kernel refuses to isolate them they say so and are skipped."""

from tests.sandbox.conftest import isolation  # noqa: F401 - a fixture that is used by itself

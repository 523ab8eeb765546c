"""The checks in the XML file of pytest's --junitxml, where its format has room for them."""

from __future__ import annotations

import pytest


class SuiteProperties:
    """Makes each check a property of the whole suite: in xunit2 a test case may not have any."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write down what a test has checked."""
        from _pytest.junitxml import xml_key  # pytest has no public way, except in a fixture

        xml = self._config.stash.get(xml_key, None)
        if xml is None or xml.family in ("legacy", "xunit1"):
            return
        for one in getattr(report, "gradproof_checks", ()):
            value = f"{one['verdict']}: {one['reason']} ({one['evaluations']:,} evaluations)"
            xml.add_global_property(f"gradproof {one['name']}", value)

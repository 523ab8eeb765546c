"""What tests in all folders share."""

# Runs pytest in a test, for the tests of the plugin.
pytest_plugins = ["pytester"]

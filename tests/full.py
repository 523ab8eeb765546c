"""`check` and `assert_gradients` with every entry looked at, for tests that are about entries."""

from functools import partial

import gradproof

check = partial(gradproof.check, coverage="full")
assert_gradients = partial(gradproof.assert_gradients, coverage="full")

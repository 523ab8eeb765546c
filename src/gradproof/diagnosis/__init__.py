"""Why: what stands in the way of a check, what a difference means, and what to do about it."""

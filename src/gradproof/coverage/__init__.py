"""Which derivatives are looked at, and how many evaluations each of them gets."""

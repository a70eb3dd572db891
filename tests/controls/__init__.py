"""The control table: which rule each gate holds for which reason, the limit's key, and the tests that prove it."""

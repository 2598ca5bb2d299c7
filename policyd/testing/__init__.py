"""Public kit for tests and compiler authors: named siblings of the real clock and metrics, builders of values."""

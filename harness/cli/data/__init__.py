"""``harness data``: what is registered, generated, checked, looked at, prepared and exported; one verb a file."""

from harness.cli.data.listing import data

__all__ = ["data"]

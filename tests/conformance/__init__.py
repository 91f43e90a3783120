"""Accepted by code that nobody here wrote: `make conformance` installs the extra for it and runs these."""

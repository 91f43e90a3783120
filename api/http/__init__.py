"""The HTTP door: programs, staff, the officer, auditors and the people themselves. Each file is one part of it."""

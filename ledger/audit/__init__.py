"""The independent auditor of a published log: reads its files as anybody can, trusts no one but the keys it was given.

It shares with the ledger only what is pure (the formats of `tlog`, and parsing an entry): not a line that writes a log.
"""

"""`prooftrail demo`: invented people, clients, orders and a year of what they ask for.

Everything here is pure and seeded: the same seed gives the same bytes, and nothing imports the ledger, reads a clock
or touches a disk. Feeding the ledger from it is somebody else's work.
"""

"""The write side of Prooftrail: facts, rules, tamper evidence.

with open_ledger(data, kek=…, signer=…) as ledger:
    receipt = ledger.record(GiveConsent(…), actor)
    receipt.verify(ledger.verifier, ledger.origin)
"""

from ledger.events import Actor
from ledger.ledger import Ledger
from ledger.opening import create_ledger, open_ledger
from ledger.receipt import Receipt

__all__ = ["Actor", "Ledger", "Receipt", "create_ledger", "open_ledger"]

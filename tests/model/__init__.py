"""The model: random commands of every capability against plain Python in memory, one file a capability.

Each file is a mixin of rules: what may be asked, what the answer must be (the refusal by its code), and what the
projections must say afterwards. They build on each other as the capabilities do, and `tests/test_model.py` runs them.
The model knows dictionaries and no ledger: it folds no event and calls no rule of `ledger.state`.
"""

"""What Prooftrail costs, as ratios measured side by side in one run: `python -m benchmarks`.

Absolute numbers say more about the machine than about the program, so each row compares ours with a reference that does
the same work bare, in turns (A B A B), and takes the median of the rounds. Each row checks that what it timed happened.
"""

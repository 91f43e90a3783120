"""Injected faults: what a store must survive, and the proof that each injector can fail.

    store.py          what an injector needs of a store, and a stand-in with defects that can be planted
    trace.py          what a store did to the disk, in order, with the acknowledgements it gave
    recording_vfs.py  records a trace, in a process of its own
    crash_states.py   power cut: the disks that a trace allows, each one checked
    kill.py           kill -9, at a random moment or at the k-th system call
    io_errors.py      fsync fails, the disk is full
    bitflip.py        one bit of a page or of a WAL frame changes

A run that finds nothing says something only beside a run that finds a planted defect: the tests do both.
"""

"""The watch over a job's processes: when one dies, fails or hangs, all end, and it is said which one and why.

A thread in each process holds a connection to the one in the first process. A process that dies closes its connection,
whatever the others wait for, and this thread runs while the main one is inside a collective operation. While any
process gives signs of life none is said to hang, for the others may rightly wait for that one.
"""

from condgen.cli.watch.watched import watched

__all__ = ["watched"]

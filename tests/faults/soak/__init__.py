"""The soak: full load and random faults for as long as one likes; `checker` judges all of it, a window after another.

    python -m tests.faults.soak --minutes 15 [--seed N]

`plan` draws the faults from a seed and `memory` judges a worker's memory (both pure), `breaking` plays the faults,
`windows` cuts the load into parts that are judged and dropped, `run` holds it together, `page` writes what came of it.
The world, the load and the faults' means are the fault matrix's.
"""

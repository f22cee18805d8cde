"""The fault matrix: real servers, real worker processes, load running, one fault a case; `checker` judges each.

    python -m tests.faults.matrix [CASE] [--seed N[,N]]

`load` asks, `tail` reads what is there, `world` holds both with the workers of one case, `cases` break things,
`runner` runs the table and `report` writes it to docs/guarantees.md.
"""

"""The names of Table 1's rows alone: `qsel --help` lists them and needs no torch.

``qsel.experiments.rows.ROWS`` holds the rows themselves.
"""

# By other objectives, in the order of the table.
RIVALS = ("semi_hard", "lifted_structure", "n_pairs", "clustering", "triplet_global")
# By rules that select quadruplets; hardest_negative is a control, not in the paper.
QUADRUPLETS = ("random", "hardest_negative", "method1", "method2")
UNTRAINED = ("raw_pixels", "start")
ALL = (*RIVALS, *QUADRUPLETS, *UNTRAINED)

"""The names of Table 1's rows alone: `qsel --help` lists them and needs no torch.

``qsel.experiments.rows.ROWS`` holds the rows themselves.
"""

# By other objectives, in the order of the table.
QUOTED = ("semi_hard", "lifted_structure", "n_pairs", "clustering", "triplet_global")
# Not in the paper, and run only where they are asked for: two later losses of pairs and
# proxies, and equation (4) without any distance.
ADDED = ("proxy_anchor", "multi_similarity", "classification")
RIVALS = QUOTED + ADDED
# Other rules of selection than the paper's, see qsel.experiments.variants.
VARIANTS = ("fine_only", "hard_sibling", "easy_positive", "nearest_all")
# By rules that select quadruplets; hardest_negative is a control, not in the paper.
QUADRUPLETS = ("random", "hardest_negative", "method1", "method2")
UNTRAINED = ("raw_pixels", "start")
BY_DEFAULT = (*UNTRAINED, *QUOTED, *QUADRUPLETS)  # what a table runs
ALL = (*RIVALS, *QUADRUPLETS, *VARIANTS, *UNTRAINED)

"""The settings that each row won its search with, on held-out training classes.

``results/tuning`` has every trial. Rows that are not here keep their preset's.
"""

# The one setting for the four quadruplet rows: of "laptop" Random's, of the others that
# with the best mean of the four on held-out training classes.
SHARED: dict[str, dict[str, object]] = {
    "laptop": dict(
        learning_rate=0.03, dropout=0.3, weight_decay=0.0, epochs=2, warmup=0
    ),
    "frozen": dict(
        learning_rate=0.0396,
        weight_decay=0.000103,
        dropout=0.568,
        whiten=0.581,
        global_weight=6.34,
        last_epoch=12,
    ),
    "upper": dict(
        learning_rate=0.000596,
        trunk_rate=0.273,
        weight_decay=9.98e-05,
        dropout=0.158,
        global_weight=0.497,
        last_epoch=2,
    ),
}
# (preset, row) → what differs from the preset.
TUNED: dict[tuple[str, str], dict[str, object]] = {
    ("laptop", "semi_hard"): dict(
        learning_rate=0.03, dropout=0.0, weight_decay=0.0, images_per_class=4, epochs=2
    ),
    ("laptop", "lifted_structure"): dict(
        learning_rate=0.001, dropout=0.0, weight_decay=0.0, images_per_class=4, epochs=2
    ),
    ("laptop", "n_pairs"): dict(
        learning_rate=0.0001, dropout=0.3, weight_decay=0.0005, epochs=2
    ),
    ("laptop", "clustering"): dict(
        learning_rate=0.003,
        dropout=0.3,
        weight_decay=0.0005,
        images_per_class=4,
        epochs=2,
    ),
    ("laptop", "triplet_global"): dict(
        learning_rate=0.01, dropout=0.0, weight_decay=0.0005, epochs=1
    ),
    ("laptop", "random"): dict(
        learning_rate=0.03, dropout=0.3, weight_decay=0.0, epochs=2
    ),
    ("laptop", "hardest_negative"): dict(
        learning_rate=0.03, dropout=0.3, weight_decay=0.0, warmup=1, epochs=2
    ),
    ("laptop", "method1"): dict(
        learning_rate=0.03, dropout=0.3, weight_decay=0.0, warmup=1, epochs=2
    ),
    ("laptop", "method2"): dict(
        learning_rate=0.03, dropout=0.3, weight_decay=0.0005, warmup=0, epochs=2
    ),
    ("frozen", "semi_hard"): dict(
        learning_rate=0.0145,
        weight_decay=9.98e-06,
        dropout=0.211,
        whiten=0.0844,
        margin=0.029,
        last_epoch=13,
    ),
    ("frozen", "lifted_structure"): dict(
        learning_rate=0.001,
        weight_decay=0.0,
        dropout=0.6,
        whiten=0.2,
        margin=None,
        last_epoch=8,
    ),
    ("frozen", "n_pairs"): dict(
        learning_rate=9.999999999999999e-05,
        weight_decay=0.0,
        dropout=0.6,
        whiten=0.2,
        margin=None,
        last_epoch=14,
    ),
    ("frozen", "clustering"): dict(
        learning_rate=0.03,
        weight_decay=0.0,
        dropout=0.6,
        whiten=0.2,
        margin=None,
        last_epoch=14,
    ),
    ("frozen", "triplet_global"): dict(
        learning_rate=0.47,
        weight_decay=9.19e-05,
        dropout=0.668,
        whiten=0.41,
        margin=0.217,
        last_epoch=5,
    ),
    ("frozen", "proxy_anchor"): dict(
        learning_rate=0.03,
        weight_decay=0.0,
        dropout=0.6,
        whiten=0.2,
        margin=None,
        last_epoch=10,
    ),
    ("frozen", "multi_similarity"): dict(
        learning_rate=0.47,
        weight_decay=9.19e-05,
        dropout=0.668,
        whiten=0.41,
        margin=19.4,
        last_epoch=3,
    ),
    ("frozen", "classification"): dict(
        learning_rate=0.03, weight_decay=0.0, dropout=0.6, whiten=0.2, last_epoch=13
    ),
    ("frozen", "random"): SHARED["frozen"],
    ("frozen", "hardest_negative"): dict(
        learning_rate=0.0396,
        weight_decay=0.000103,
        dropout=0.568,
        whiten=0.581,
        global_weight=6.34,
        last_epoch=10,
    ),
    ("frozen", "method1"): dict(
        learning_rate=0.03,
        weight_decay=0.0,
        dropout=0.6,
        whiten=0.2,
        global_weight=128.0,
        last_epoch=5,
    ),
    ("frozen", "method2"): SHARED["frozen"],
    ("frozen", "fine_only"): dict(
        learning_rate=0.03,
        weight_decay=0.0,
        dropout=0.6,
        whiten=0.2,
        global_weight=128.0,
        last_epoch=11,
    ),
    ("frozen", "hard_sibling"): dict(
        learning_rate=0.0396,
        weight_decay=0.000103,
        dropout=0.568,
        whiten=0.581,
        global_weight=6.34,
        last_epoch=7,
    ),
    ("frozen", "easy_positive"): dict(
        learning_rate=0.03,
        weight_decay=0.0,
        dropout=0.6,
        whiten=0.2,
        global_weight=128.0,
        last_epoch=11,
    ),
    ("frozen", "nearest_all"): dict(
        learning_rate=0.0396,
        weight_decay=0.000103,
        dropout=0.568,
        whiten=0.581,
        global_weight=6.34,
        last_epoch=13,
    ),
    ("upper", "method2"): SHARED["upper"],
    ("upper", "random"): dict(
        learning_rate=0.002,
        trunk_rate=0.25,
        weight_decay=0.001,
        dropout=0.3,
        global_weight=1.0,
        last_epoch=2,
    ),
    ("upper", "hardest_negative"): SHARED["upper"],
    ("upper", "method1"): SHARED["upper"],
    ("upper", "classification"): dict(
        learning_rate=0.002,
        trunk_rate=0.25,
        weight_decay=0.001,
        dropout=0.3,
        last_epoch=2,
    ),
    ("upper", "proxy_anchor"): dict(
        learning_rate=0.002,
        trunk_rate=0.25,
        weight_decay=0.001,
        dropout=0.3,
        margin=None,
        last_epoch=2,
    ),
    ("upper", "multi_similarity"): dict(
        learning_rate=0.002,
        trunk_rate=0.25,
        weight_decay=0.001,
        dropout=0.3,
        margin=None,
        last_epoch=2,
    ),
}

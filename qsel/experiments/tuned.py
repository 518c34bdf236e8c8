"""The settings that each row won its search with, on held-out training classes.

Every row had the same number of trials; ``results/tuning`` has them all.
"""

# One trial was best for three rows.
_UPPER = dict(
    learning_rate=0.000596,
    trunk_rate=0.273,
    weight_decay=9.98e-05,
    dropout=0.158,
    global_weight=0.497,
    last_epoch=2,
)
# (preset, row) → what differs from the preset.
TUNED: dict[tuple[str, str], dict[str, object]] = {
    ("frozen", "semi_hard"): dict(
        learning_rate=0.1, dropout=0.6, weight_decay=0.001, whiten=0.2, epochs=14
    ),
    ("frozen", "lifted_structure"): dict(
        learning_rate=0.001, dropout=0.3, weight_decay=0.001, whiten=0.0, epochs=14
    ),
    ("frozen", "n_pairs"): dict(
        learning_rate=0.0003333, dropout=0.3, weight_decay=0.001, whiten=0.0, epochs=14
    ),
    ("frozen", "clustering"): dict(
        learning_rate=0.1, dropout=0.6, weight_decay=0.001, whiten=0.2, epochs=14
    ),
    ("frozen", "triplet_global"): dict(
        learning_rate=0.1, dropout=0.6, weight_decay=0.001, whiten=0.2, epochs=14
    ),
    ("frozen", "random"): dict(
        learning_rate=0.03, dropout=0.3, weight_decay=0.0001, whiten=0.4, epochs=14
    ),
    ("frozen", "hardest_negative"): dict(
        learning_rate=0.03, dropout=0.3, weight_decay=0.001, whiten=0.0, epochs=14
    ),
    ("frozen", "method1"): dict(
        learning_rate=0.03, dropout=0.3, weight_decay=0.001, whiten=0.0, epochs=14
    ),
    ("frozen", "method2"): dict(
        learning_rate=0.1, dropout=0.6, weight_decay=0.001, whiten=0.4, epochs=7
    ),
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
    ("upper", "random"): dict(
        learning_rate=0.002,
        trunk_rate=0.25,
        weight_decay=0.001,
        dropout=0.3,
        global_weight=1.0,
        last_epoch=2,
    ),
    ("upper", "hardest_negative"): _UPPER,
    ("upper", "method1"): _UPPER,
    ("upper", "method2"): _UPPER,
}
# The one setting for the four quadruplet rows: of "laptop" Random's, of the others that
# with the best mean of the four on held-out training classes.
SHARED: dict[str, dict[str, object]] = {
    "laptop": TUNED["laptop", "random"] | dict(warmup=0),
    "upper": _UPPER,
}

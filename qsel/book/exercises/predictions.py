"""Exercises of all chapters in which one of a few answers is chosen.

What is right is written here. Where it is a matter of measurement, the solution's cell
measures it and answers with what it found, so the two cannot part unnoticed.
"""

from qsel.book.exercises import choose, exercise


def _predict(name: str, choices: tuple, truth: str, nudge: str, why: str) -> None:
    @exercise(name)
    def judge(answer: object) -> str:
        choose(answer, choices, truth, nudge)
        return why


_predict(
    "1a",
    ("under 10 %", "10 to 50 %", "over 50 %"),
    "under 10 %",
    "what else do two pictures of one model differ in?",
    "Without the paint, view, place and background are still there.",
)
_predict(
    "2a",
    ("contrastive", "triplet", "global", "none"),
    "none",
    "a loss can be large and flat: what is its slope, and in which direction?",
    "All three cost something, but every gradient is zero: all points stay.",
)
_predict(
    "3a",
    (
        "zero",
        "above zero, for the margins always cost something",
        "above zero, for images of one class still differ",
    ),
    "zero",
    "each network may return whatever it likes, and need not look at its image",
    "Constants at distances 0, 1 and 2 from R's cost nothing, and nothing is learned. "
    "Shared weights rule this out: equal images have equal embeddings.",
)
_predict(
    "3.1a",
    ("stays", "grows by less than a quarter", "doubles"),
    "grows by less than a quarter",
    "what does a head pay where all scores are equal?",
    "It pays 0.25 ln k, and ln 196 is only 1.15 times ln 98.",
)
_predict(
    "3.2a",
    (
        "grows without limit",
        "falls to a limit above zero",
        "falls to zero",
        "stays the same",
    ),
    "falls to a limit above zero",
    "what becomes of a margin of 0.4 beside 1600?",
    "From 1.09 to 0.86: the margins fade, and 1 minus each plain ratio remains.",
)
_predict(
    "3.3a",
    ("Method 1's", "Method 2's", "both", "neither"),
    "Method 1's",
    "the radius is the same, and so are the candidates; which rule looks at N?",
    "Method 2 knows N by the radius alone; Method 1 asks how near N a point is.",
)
_predict(
    "3.3b",
    ("neither", "all coordinates", "one coordinate", "both"),
    "one coordinate",
    "selection compares distances with one another, and with nothing else",
    "A common factor leaves the order of all distances; stretching one does not.",
)
_predict(
    "4.1a",
    ("the joint loss", "the global loss", "the class heads", "none of them"),
    "the global loss",
    "which parts are sums over quadruplets, and which is a mean in either case?",
    "It weighs 1/B of what it did; sums over the batch become means.",
)
_predict(
    "5a",
    ("nothing", "about 0.2 points", "about 0.6 points", "about 1.2 points"),
    "about 0.6 points",
    "how far above the mean is the largest of five draws, in deviations?",
    "Out of nothing, and more than a standard deviation.",
)
_predict(
    "speed-a",
    ("hardly any", "about a tenth", "most"),
    "most",
    "how large is what is compared, and how large are the numbers it is left of?",
    "The package errs for none: it moves the origin first, and measures again what is "
    "in doubt.",
)

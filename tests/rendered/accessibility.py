"""What axe finds on every page, in both schemes, beside what is the theme's own.

axe is fetched by .ci/run; by hand: npm pack axe-core@4.14.1, unpack it, and
python -m pytest tests/rendered --axe package/axe.min.js
"""

import fnmatch

# (rule, element): the theme's and docutils' own.
KNOWN = (
    # Buttons of the bar: an icon in them bears another text than their label.
    ("label-content-name-mismatch", "*search-button-field*"),
    ("label-content-name-mismatch", "*theme-switch-button*"),
    # "Show code cell source": the name of a cell that unfolds, given by MyST-NB.
    ("label-content-name-mismatch", '<summary aria-label="Toggle hidden content">*'),
    # The logo and the title of the side bar lie in no landmark.
    ("region", '<img src="*_static/logo.svg"*'),
    ("region", '<p class="title logo__title">*'),
    # Arrows of the side bar that unfold a chapter's sections.
    ("summary-name", "<summary>*"),
    # The list of references, by docutils.
    ("aria-allowed-role", '<div class="citation"*'),
    ("aria-deprecated-role", '<div class="citation"*'),
    ("aria-required-children", '<div role="list" class="citation-list">'),
)


def found(page, axe: str) -> list[str]:
    """What axe finds on a page, each with its rule, place and element."""
    page.evaluate(axe)
    violations = page.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)"
    )
    return [
        f"{violation['id']}: {node['target']} {node['html'][:160]}"
        for violation in violations
        for node in violation["nodes"]
        if not any(
            violation["id"] == rule and fnmatch.fnmatchcase(node["html"], element)
            for rule, element in KNOWN
        )
    ]

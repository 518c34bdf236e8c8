"""What tests of several files share."""

import pandas as pd

PAIR = ("method1", "method2")


def frame(**methods) -> pd.DataFrame:
    """Runs with R@1 as given, one seed after another, without counts by class."""
    return pd.DataFrame(
        [
            {"method": method, "seed": seed, "R@1": value}
            for method, values in methods.items()
            for seed, value in enumerate(values)
        ]
    )


def counted(images: list[int], **hits: list[list[int]]) -> pd.DataFrame:
    """Runs with hits of each class as given, one list a seed."""
    return pd.DataFrame(
        [
            {
                "method": method,
                "seed": seed,
                "R@1": 100 * sum(of_seed) / sum(images),
                "NMI": float(seed),
                "by_class": {"images": images, "R@1": list(of_seed)},
            }
            for method, seeds in hits.items()
            for seed, of_seed in enumerate(seeds)
        ]
    )

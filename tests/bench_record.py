"""A record of ``make bench`` as small as can be, with numbers easy to follow."""


def selection(name, title, ratio, target, embeddings="clustered", **others) -> dict:
    return {
        **{"name": name, "title": title, "embeddings": embeddings, "n": 8054},
        **{"b": 7565, "d": 1024, "memory": 64 << 20, "quadruplet": True},
        **{"target": target, "seconds": 2 * ratio, "floor": 2.0, "ratio": ratio},
        **{"right": 1.0, "checked": 128},
    } | others


def cpu() -> dict:
    peer = {"quadruplet": False}
    return {
        **{"command": "python -m benchmarks.selection", "tiny": False},
        **{"date": "2026-01-02", "machine": "some CPU, 2 cores", "threads": 2},
        **{"versions": {"torch": "2.15.0"}, "minutes": 14.6},
        "selection": [
            selection("method2", "Method 2", 1.0, 1.05),
            selection("method1", "Method 1", 2.0, 1.5),
            selection("hardest_negative", "Hardest negative", 0.9, None),
            selection("recall", "Recall@1/2/4/8", 1.2, 1.25, quadruplet=False),
            selection("method2", "Method 2", 1.04, 1.05, "random"),
        ],
        "peers": [
            selection("cdist", "cdist", 10.0, None),
            selection("faiss_selector", "FAISS", 4.5, None, **peer, right=0.5),
            selection("triplet_margin", "Triplets", 99.0, None, **peer),
        ],
        "steps": [{"preset": "laptop", "target": 1.1, "ratio": 1.2}],
        "growth_n": [
            {
                **{"n": n, "b": b, "d": 256, "seconds": n * b / 1e8},
                **{"floor": n * b / 2e8, "ratio": 2.0},
                "memory": 300 << 20 if n == 500_000 else 90 << 20,
            }
            for b in (512, 2048)
            for n in (8_000, 60_000, 500_000)
        ],
        "growth_b": [
            {"n": 60_000, "b": b, "d": 256, "seconds": b / 1e3, "floor": b / 2e3}
            for b in (128, 512)
        ],
        "approximate": [
            {
                **{"embeddings": "random", "n": 10**6, "b": 1000, "d": 128},
                **{"probes": 8, "recall": 0.25, "further": 0.125, "seconds": 0.5},
                **{"exact": 4.0, "built": 30.0, "floor": 3.0},
            }
        ],
    }


def cuda() -> dict:
    return {
        "selection": [
            {
                **{"name": "method2", "n": 8000, "b": 8000, "d": 1024},
                **{"products": "tf32", "seconds": 0.01, "floor": 0.02, "ratio": 0.5},
                **{"memory": 1 << 20, "right": 1.0, "checked": 128},
            }
        ],
    }

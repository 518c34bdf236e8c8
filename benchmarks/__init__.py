"""Side-by-side timings, run by ``make bench``; see ``benchmarks.selection``."""

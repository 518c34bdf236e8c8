"""Exercises that check themselves.

Every chapter ends with some: **Predict** (say it before you run it), **Compute** (a
value), **Build** (a function or a batch), **Train** (change a rule, train, compare) and
**Prove** (on paper; a number that follows is checked). A cell of the notebook holds the
stub; ``check`` compares what was filled in with what the package computes, and says
which part is off.

The judges stand in a file for each group of chapters.
"""

import dis
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from types import CodeType

import numpy as np
import torch
from torch import Tensor

GROUPS = ("predictions", "training", "retrieval", "losses", "network", "selection")
GROUPS += ("verdicts",)


class Slip(Exception):
    """What is wrong with an answer: a sentence without its full stop."""


_judges: dict[str, Callable[[object], str]] = {}


def exercise(name: str) -> Callable:
    """Decorator: enter a judge under its exercise, such as "3.1b".

    A judge takes an answer and returns why it is right, or raises ``Slip``.
    """
    if name in _judges:
        raise ValueError(f"two exercises are called {name}")

    def enter(judge: Callable[[object], str]) -> Callable[[object], str]:
        _judges[name] = judge
        return judge

    return enter


def all_judges() -> dict[str, Callable[[object], str]]:
    """Name of the exercise → judge, in the order of the names."""
    for group in GROUPS:
        importlib.import_module(f"{__name__}.{group}")
    return dict(sorted(_judges.items()))


def check(name: str, answer: object) -> None:
    """Print what an answer is worth: not answered yet, right, or not yet, and why.

    Args:
        name: of the exercise, as it stands above the cell.
        answer: what was filled in; ``...`` and a function without a body are no answer.
            Whatever it is, it raises nothing.

    Raises:
        ValueError: there is no such exercise.

    Example:
        >>> check("2b", ...)
        Exercise 2b: not answered yet.
        >>> check("2b", 0.1)
        Exercise 2b: not yet: 0.1 is too low.
    """
    known = all_judges()
    if name not in known:
        raise ValueError(f"no exercise {name!r}; there are {', '.join(known)}")
    if _unanswered(answer):
        print(f"Exercise {name}: not answered yet.")
        return
    try:
        print(f"Exercise {name}: right. {known[name](answer)}")
    except Slip as slip:
        end = "" if str(slip).endswith("?") else "."
        print(f"Exercise {name}: not yet: {slip}{end}")


def _stub(): ...


def _steps(code: CodeType) -> list[tuple[str, object]]:
    return [(step.opname, step.argval) for step in dis.get_instructions(code)]


def _unanswered(answer: object) -> bool:
    if answer is None or answer is ...:
        return True
    if isinstance(answer, list | tuple):
        return any(_unanswered(part) for part in answer)
    code = getattr(answer, "__code__", None)
    return isinstance(code, CodeType) and _steps(code) == _steps(_stub.__code__)


# --- for judges: what was predicted or computed ----------------------------------


def number(answer: object) -> float:
    """The answer as a finite number; a ``Slip`` if it is none."""
    if isinstance(answer, str | bytes):
        raise Slip(f"expected a number, not the text {answer!r}")
    try:  # arrays and tensors of one number are that number
        value = float(answer.item() if hasattr(answer, "item") else answer)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Slip(f"expected a number, not a {type(answer).__name__}") from None
    if not abs(value) < float("inf"):
        raise Slip(f"{value} is no number to compare with")
    return value


def parts(answer: object, count: int, expected: str) -> list:
    """The ``count`` parts of a list, a tuple, an array or a tensor; else a ``Slip``."""
    several = isinstance(answer, list | tuple | np.ndarray | Tensor)
    if not several or getattr(answer, "ndim", 1) == 0 or len(answer) != count:
        raise Slip(f"expected {expected}")
    return list(answer)


def near(
    answer: object,
    truth: float,
    tolerance: float,
    slips: Mapping[float, str] | None = None,
    part: str = "",
) -> None:
    """Compare a number with the computed one.

    ``slips`` says of numbers that typical mistakes lead to what the mistake is;
    ``part`` names the number where an answer has several.
    """
    of_part = f"{part}: " if part else ""
    try:
        value = number(answer)
    except Slip as slip:
        raise Slip(f"{of_part}{slip}") from None
    if abs(value - truth) <= tolerance:
        return
    for wrong, why in (slips or {}).items():
        if abs(value - wrong) <= tolerance:
            raise Slip(f"{of_part}{why}")
    direction = "low" if value < truth else "high"
    raise Slip(f"{of_part}{_plain(value)} is too {direction}")


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:.6g}"


def choose(answer: object, choices: Sequence[str], truth: str, nudge: str) -> None:
    """Compare a choice with the right one; the nudge must not give that away."""
    said = " ".join(answer.split()) if isinstance(answer, str) else None
    if said not in choices:
        offered = ", ".join(repr(choice) for choice in choices)
        raise Slip(f"{_short(answer)} is no choice; choose one of {offered}")
    if said != truth:
        raise Slip(nudge)


# --- for judges: what was built --------------------------------------------------

Case = tuple[str, tuple]  # what it is, and the arguments


def hold(
    answer: object,
    cases: Iterable[Case],
    truth: Callable,
    tolerance: float = 1e-4,
) -> int:
    """Hold a function against another one; returns how many cases there were.

    A ``Slip`` tells the first case on which the two differ, so cases that try one part
    alone stand first. ``tolerance`` is relative to 1 or to the larger number.
    """
    count = 0
    for what, arguments in cases:
        got, right = ask(answer, what, arguments), truth(*arguments)
        want = _tensor(right)
        if got.shape != want.shape:
            raise Slip(
                f"for {what} the answer has shape {tuple(got.shape)}; expected "
                f"{tuple(want.shape)}"
            )
        scale = tolerance * want.nan_to_num().abs().clamp_min(1)
        wrong = ~(((got - want).abs() <= scale) | (got == want))
        wrong &= ~(got.isnan() & want.isnan())
        if wrong.any():
            place = tuple(int(i) for i in wrong.nonzero()[0])
            where = f"entry {place[0]} is" if place else "the answer is"
            decided = torch.as_tensor(right).dtype == torch.bool
            said, wanted = (
                str(bool(x)) if decided else f"{x:.6g}"
                for x in (got[place].item(), want[place].item())
            )
            raise Slip(f"for {what} {where} {said}; expected {wanted}")
        count += 1
    return count


def ask(function: object, what: str, arguments: Sequence) -> Tensor:
    """Call a function on copies of the arguments; its answer, as float64.

    Errors and answers that are no numbers become a ``Slip``.
    """
    if not callable(function):
        raise Slip(f"expected a function, not {_short(function)}")
    try:
        answer = function(*deepcopy(arguments))
    except Exception as error:
        said = " ".join(str(error).split())[:160]
        raise Slip(
            f"for {what} the function raised {type(error).__name__}: {said}"
        ) from error
    if answer is None or answer is ...:
        raise Slip(f"for {what} the function returns nothing; where is its return?")
    try:
        return _tensor(answer)
    except (TypeError, ValueError, RuntimeError):
        raise Slip(f"for {what} the answer is {_short(answer)}; no number") from None


def _tensor(value: object) -> Tensor:
    try:
        found = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):  # a fraction, a reversed array
        array = np.asarray(value)
        if array.dtype.kind not in "Obiuf":  # a text is no number, "1" neither
            raise
        found = torch.as_tensor(array.astype(float))
    return found.detach().cpu().double()


def _short(value: object) -> str:
    try:
        shown = " ".join(repr(value).split())
    except Exception:
        shown = f"a {type(value).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


# --- for judges: what they compute with ------------------------------------------


def at_distances(*distances: Tensor) -> Tensor:
    """(4, B, 1) embeddings on a line: R at 0, and P⁺, P⁻, N at (B,) distances.

    Example:
        >>> at_distances(*torch.tensor([[1.0], [2.0], [3.0]])).flatten()
        tensor([0., 1., 2., 3.])
    """
    return torch.stack([torch.zeros_like(distances[0]), *distances])[:, :, None]

"""The 196 classes of Stanford Cars: names, makes, coarse classes, images."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Elsewhere the first word of a class name is the make.
MAKES_OF_TWO_WORDS = ("AM General", "Aston Martin", "Land Rover")


@dataclass(frozen=True)
class CarClass:
    """What is known about one of the 196 classes."""

    name: str  # "Audi S4 Sedan 2012"
    body9: str  # one of nine body types
    train_images: int  # in the official train part
    test_images: int  # in the official test part

    @property
    def token22(self) -> str:
        """The word before the year; it takes 22 values."""
        return self.name.split()[-2]


@cache
def car_classes() -> tuple[CarClass, ...]:
    """The 196 classes in official order.

    Example:
        >>> len(car_classes()), car_classes()[0].name, car_classes()[0].token22
        (196, 'AM General Hummer SUV 2000', 'SUV')
    """
    table = Path(__file__).with_name("cars196_classes.csv")
    with table.open(encoding="utf-8", newline="") as lines:
        _, *rows = csv.reader(lines)
    return tuple(CarClass(*row[:2], *map(int, row[2:])) for row in rows)


def make(name: str) -> str:
    """The make in a class name; the 196 classes are sorted by it.

    Example:
        >>> make("Aston Martin Virage Coupe 2012"), make("Rolls-Royce Ghost Sedan 2012")
        ('Aston Martin', 'Rolls-Royce')
    """
    two = (make for make in MAKES_OF_TWO_WORDS if name.startswith(f"{make} "))
    return next(two, name.split()[0])

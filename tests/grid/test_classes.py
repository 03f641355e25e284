import numpy as np
import pytest

from geoxr.errors import ClassesError
from geoxr.grid.classes import Classes


def test_codes_become_positions_and_come_back() -> None:
    classes = Classes.of({176: "Grass", 1: "Corn", 5: "Soy"})
    codes = np.array([[1, 5], [176, 1]])
    index = classes.to_index(codes)
    assert index.tolist() == [[1, 2], [0, 1]]
    assert (classes.to_codes(index) == codes).all()


def test_unknown_codes_are_minus_one() -> None:
    assert Classes.of({3: "a", 9: "b"}).to_index(np.array([0, 3, 4, 9, 200])).tolist() == [
        -1, 0, -1, 1, -1,
    ]  # fmt: skip


def test_attributes_hold_everything() -> None:
    classes = Classes((1, 254), ("Winter Wheat", "Dbl Crop"), ("#010203", "#ffffff"))
    assert Classes.from_attrs(classes.to_attrs()) == classes


@pytest.mark.parametrize(
    ("values", "dtype", "free"),
    [((0, 1), "uint8", 255), ((1, 254), "uint8", 0), ((0, 254), "uint8", 255), ((0, 255), "int16", 32767),
     ((-1, 3), "int16", 32767), ((1, 40_000), "uint16", 0)],
)  # fmt: skip
def test_a_code_stays_free_for_nodata(values: tuple[int, ...], dtype: str, free: int) -> None:
    classes = Classes.of({value: str(value) for value in values})
    assert classes.dtype == dtype
    assert classes.free_code() == free
    assert free not in values


def test_codes_must_be_distinct() -> None:
    with pytest.raises(ClassesError, match="distinct"):
        Classes((1, 1), ("a", "b"))

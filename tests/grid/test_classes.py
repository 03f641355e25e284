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


def test_many_classes_have_a_short_repr() -> None:
    classes = Classes.of({i: f"class {i}" for i in range(256)})
    assert len(repr(classes)) < 150
    assert repr(classes).startswith("Classes(256: {0: 'class 0', 1: 'class 1'")
    assert repr(classes).endswith("255: 'class 255'})")


def test_classes_are_a_table_in_a_notebook() -> None:
    table = Classes((1, 5), ("Corn", "<Soy>"), ("#010203", "#ffffff"))._repr_html_()
    assert table.count("<tr>") == 3
    assert "&lt;Soy&gt;" in table and "#010203" in table

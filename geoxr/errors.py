"""Every error that geoxr raises on purpose.

::

    GeoxrError
    ├── MissingFileError          (FileNotFoundError)  a path that is not there
    ├── NotARasterError           (ValueError)         a file that cannot be opened as layer
    ├── ReadFailedError           (OSError)            pixels that cannot be read
    │   └── ChipReadError                              ... of a chip in a batch
    ├── MissingCRSError           (ValueError)         a CRS is needed and there is none
    ├── CRSMismatchError          (ValueError)         one CRS was expected, several were found
    ├── GridError                 (ValueError)         coordinates that are not a regular grid
    ├── NoOverlapError            (ValueError)         layers or areas that do not meet
    ├── ChipError                 (ValueError)         chips that do not fit
    ├── ClassesError              (ValueError)         label values outside the classes
    ├── ValidityError             (ValueError)         nobody knows which pixels are valid
    ├── ArgumentError             (ValueError)         an argument that makes no sense
    ├── ReadOnlyError             (TypeError)          assignment into a lazy layer
    ├── TooLargeError             (MemoryError)        a read above ``options.max_read``
    ├── OutputExistsError         (FileExistsError)    an output path that is taken
    ├── DiskFullError             (OSError)            no space left while writing
    └── MissingDependencyError    (ImportError)        an extra that is not installed

Each class also is the builtin error it stands for, so ``except ValueError`` keeps working. A message
says what was found, what was expected, and what to do.
"""

from __future__ import annotations


class GeoxrError(Exception):
    """Base of all errors of geoxr."""


class MissingFileError(GeoxrError, FileNotFoundError):
    """A file, directory or pattern matches nothing."""


class NotARasterError(GeoxrError, ValueError):
    """A file exists but no reader understands it."""


class ReadFailedError(GeoxrError, OSError):
    """Pixels could not be read from an opened layer."""


class ChipReadError(ReadFailedError):
    """A chip of a batch could not be read; `number` is its number in the plan."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (str(self), self.number)


class MissingCRSError(GeoxrError, ValueError):
    """An operation needs a coordinate reference system and the layer has none."""


class CRSMismatchError(GeoxrError, ValueError):
    """Layers that must share a coordinate reference system do not."""


class GridError(GeoxrError, ValueError):
    """Coordinates do not describe a regular grid, or two grids differ."""


class NoOverlapError(GeoxrError, ValueError):
    """Layers, areas or splits do not meet."""


class ChipError(GeoxrError, ValueError):
    """Chips of the size asked for do not fit where they are asked for."""


class ClassesError(GeoxrError, ValueError):
    """Label values and classes do not agree."""


class ValidityError(GeoxrError, ValueError):
    """It is unknown which pixels of computed data are valid."""


class ArgumentError(GeoxrError, ValueError):
    """An argument has a value that makes no sense."""


class ReadOnlyError(GeoxrError, TypeError):
    """A lazy layer was assigned to."""


class TooLargeError(GeoxrError, MemoryError):
    """A single read would take more memory than ``geoxr.options.max_read``."""


class OutputExistsError(GeoxrError, FileExistsError):
    """An output path is taken and overwriting was not asked for."""


class DiskFullError(GeoxrError, OSError):
    """The disk filled up while writing; nothing is left under the final name."""


class MissingDependencyError(GeoxrError, ImportError):
    """An optional package is not installed."""


def missing_dependency(package: str, extra: str) -> MissingDependencyError:
    """Build the error for an optional `package` that comes with `extra`.

    Examples
    --------
    >>> print(missing_dependency("matplotlib", "viz"))
    matplotlib is not installed. It comes with an extra: pip install "geoxr[viz]"
    """
    return MissingDependencyError(
        f'{package} is not installed. It comes with an extra: pip install "geoxr[{extra}]"'
    )

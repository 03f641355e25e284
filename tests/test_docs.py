"""The pages name everything public, and their examples run."""

import doctest
import re
import tempfile
from pathlib import Path

import pytest

import geoxr as gx
from geoxr.accessor import DatasetAccessor, LayerAccessor

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))
#: A fenced block of a session; the fence would be taken for output.
SESSION = re.compile(r"^```pycon\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: What a method of the accessors says it calls.
CALLED = re.compile(r"See `(geoxr[.\w]+)`")


def public(accessor: type) -> set[str]:
    return {name for name in dir(accessor) if not name.startswith("_")}


def documented(name: str) -> bool:
    return re.search(rf"\b(gx|geoxr)\.{re.escape(name)}\b", REFERENCE) is not None


def sessions(path: Path) -> str:
    return "\n".join(SESSION.findall(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", gx.__all__)
def test_the_reference_names_everything_public(name: str) -> None:
    assert documented(name), f"docs/api.md lacks geoxr.{name}"


def test_the_reference_names_what_methods_call() -> None:
    source = (ROOT / "geoxr" / "accessor.py").read_text(encoding="utf-8")
    called = {name.removeprefix("geoxr.") for name in CALLED.findall(source)}
    assert len(called) > 10
    assert {name for name in called if not documented(name)} == set()


def test_the_reference_names_what_datasets_share_with_layers() -> None:
    shared = public(DatasetAccessor) & public(LayerAccessor) - set(vars(DatasetAccessor))
    text = REFERENCE.split("## Datasets: `ds.geoxr`")[1].split("```{eval-rst}")[0]
    assert set(re.findall(r"`(\w+)`", text)) == shared


@pytest.mark.parametrize(
    "path", [path for path in PAGES if sessions(path)], ids=lambda path: path.stem
)
def test_examples_of_a_page_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    test = doctest.DocTestParser().get_doctest(sessions(path), {}, path.name, str(path), 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    failed, attempted = runner.run(test, out=report.append)
    assert attempted > 0
    assert not failed, "".join(report)


def test_the_page_of_the_engine_has_examples() -> None:
    assert sessions(ROOT / "docs" / "engine.md").count(">>>") > 40

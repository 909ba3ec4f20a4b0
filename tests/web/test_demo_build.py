"""What `make demo` does, with a small page in the place of the demo."""

import re
import shutil
from pathlib import Path

import pytest

from tests.bundle import LOCK, changed, digests
from tests.node import WEB, Tools

pytestmark = pytest.mark.slow

PAGE = {
    "index.html": """\
        <!doctype html>
        <html lang="en">
          <link rel="icon" href="./icon.svg">
          <div id="root"></div>
          <script type="module" src="./main.tsx"></script>
        </html>
    """,
    "icon.svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>',
    "demo.css": "i { color: blue; }",
    "late.css": "b { color: red; }",
    "late.tsx": 'import "./late.css";\nexport const Late = () => <b>late</b>;',
    "main.tsx": """\
        import { createRoot } from "react-dom/client";
        import "./demo.css";
        const { Late } = await import("./late.js");
        createRoot(document.body).render(<Late />);
    """,
}


def page(folder: Path) -> Path:
    """The sources, beside the packages that they import."""
    (folder / "demo").mkdir(parents=True)
    (folder / "node_modules").symlink_to(WEB / "node_modules")
    for name, text in PAGE.items():
        (folder / "demo" / name).write_text(text)
    return folder / "demo"


def test_the_demo_is_a_page_one_script_one_stylesheet_and_the_licences(
    tools: Tools, tmp_path: Path
) -> None:
    built = tmp_path / "built"
    tools.script("demo.mjs", page(tmp_path), built)

    assert sorted(digests(built, ".")) == [
        *("assets/demo.css", "assets/demo.js", "assets/icon.svg"),
        *(LOCK, "index.html", "licenses.md"),
    ]
    assert "## react-dom - " in (built / "licenses.md").read_text()


def test_the_page_needs_no_exception_from_the_content_security_policy(
    tools: Tools, tmp_path: Path
) -> None:
    built = tmp_path / "built"
    tools.script("demo.mjs", page(tmp_path), built)
    html = (built / "index.html").read_text()

    assert re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL) == [""]
    assert "<style" not in html
    assert "style=" not in html
    assert "data:" not in html
    assert not re.search(r"\beval\(|new Function\(", (built / "assets" / "demo.js").read_text())


def test_the_same_sources_make_the_same_files_wherever_they_are(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.script("demo.mjs", page(tmp_path / "one"), tmp_path / "first")
    monkeypatch.setenv("NODE_ENV", "development")
    tools.script("demo.mjs", page(tmp_path / "somewhere" / "else"), tmp_path / "second")
    first, second = (digests(tmp_path / name, ".") for name in ("first", "second"))

    # The locks name the sources, which are in different places here.
    assert first.pop(LOCK) != second.pop(LOCK)
    assert first == second


def test_whatever_has_changed_since_the_demo_was_built_is_named(
    tools: Tools, tmp_path: Path
) -> None:
    sources, built = page(tmp_path), tmp_path / "built"
    assert changed(built) == [LOCK]
    tools.script("demo.mjs", sources, built)
    assert changed(built) == []

    (sources / "demo.css").write_text("i { color: green; }")
    (sources / "late.css").unlink()
    (sources / "new.ts").write_text("")
    (built / "assets" / "demo.js").write_text("something else")
    (built / "left-over.js").write_text("")
    assert [Path(name).name for name in changed(built)] == [
        *("demo.css", "late.css", "new.ts", "demo.js", "left-over.js"),
    ]


def test_without_sources_the_demo_that_is_there_stays(tools: Tools, tmp_path: Path) -> None:
    built = tmp_path / "built"
    tools.script("demo.mjs", page(tmp_path), built)
    shutil.rmtree(tmp_path / "demo")

    with pytest.raises(AssertionError, match=r"There is no index\.html"):
        tools.script("demo.mjs", tmp_path / "demo", built)
    assert (built / "index.html").exists()

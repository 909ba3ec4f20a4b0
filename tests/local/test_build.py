import zipfile
from pathlib import Path

from local.build import fingerprint, pack
from local.stack import ROOT


def _folder(root: Path) -> Path:
    (root / "inner" / "__pycache__").mkdir(parents=True)
    (root / "one.py").write_text("1")
    (root / "inner" / "two.py").write_text("2")
    (root / "inner" / "__pycache__" / "two.pyc").write_bytes(b"machine")
    return root


def test_the_same_files_make_the_same_zip_and_no_caches_are_in_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    pack(_folder(tmp_path / "a"), first)
    pack(_folder(tmp_path / "b"), second)
    assert first.read_bytes() == second.read_bytes()
    assert zipfile.ZipFile(first).namelist() == ["inner/two.py", "one.py"]


def test_a_fingerprint_changes_with_the_files_and_with_the_interpreter() -> None:
    files = [ROOT / "template.yaml", ROOT / "samconfig.toml"]
    known = fingerprint(files, salt="python3.11")
    assert fingerprint(reversed(files), salt="python3.11") == known
    assert fingerprint(files, salt="python3.12") != known
    assert fingerprint(files[:1], salt="python3.11") != known

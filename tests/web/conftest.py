"""What of web/ is there to be tested."""

from tests.bundle import SOURCES

#: The demo of local/demo has no sources yet; with the first of them its tests begin to run.
collect_ignore = [] if SOURCES.is_dir() else ["test_demo_bundle.py"]

"""`make docs`: fills every `<!-- generated: NAME -->` block of the pages from where it is known."""

from tests.docs.generated import filled
from tests.docs.markdown import pages

if __name__ == "__main__":
    for page in pages():
        page.write_text(filled(page.read_text("utf-8")), "utf-8")

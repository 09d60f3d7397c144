"""Check that the search of the built site finds the words of the field in the user guide.

``python docs/check_search.py docs/_build/html`` or ``make -C docs search``. The exit status is 1 if
a word is not found.
"""

import json
import sys
from pathlib import Path

from sphinx.search.en import SearchEnglish

WORDS = (
    "anomaly",
    "bottleneck",
    "categorical",
    "density",
    "dimensionality reduction",
    "embedding",
    "generative",
    "imputation",
    "latent",
    "outlier",
    "semi-supervised",
    "supervised",
)


def pages(index, word):
    """Return the names of the pages that contain each part of a word."""
    language = SearchEnglish({})
    found = []
    for part in language.split(word):
        stem = language.stem(part.lower())
        documents = index["terms"].get(stem, []), index["titleterms"].get(stem, [])
        documents = (d if isinstance(d, list) else [d] for d in documents)
        found.append({index["docnames"][i] for numbers in documents for i in numbers})
    return set.intersection(*found)


def main(folder):
    """Print the number of pages for each word, and return whether a word is not found."""
    text = Path(folder, "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    fails = False
    for word in WORDS:
        found = pages(index, word)
        in_guide = sum(name.startswith("guide/") for name in found)
        fails |= not in_guide
        sys.stdout.write(f"{word}: {len(found)} pages, {in_guide} of the guide\n")
    return fails


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""Shared paragraphs of docstrings."""

import inspect
import re

import pytest

import skae
from skae._docstrings import with_shared_paragraphs

ESTIMATORS = [
    skae.AutoencoderImputer,
    skae.AutoencoderTransformer,
    skae.OutlierDetector,
    skae.VariationalAutoencoder,
]


@pytest.mark.parametrize("documented", [*ESTIMATORS, *(cls.fit for cls in ESTIMATORS)])
def test_help_shows_each_parameter_with_its_own_paragraph(documented):
    text = inspect.getdoc(documented)
    for name in set(inspect.signature(documented).parameters) - {"self"}:
        (paragraph,) = re.findall(rf"^{name} : [^\n]+\n    (\S[^\n]+)", text, re.MULTILINE)
        assert not paragraph.startswith(("As in", "See "))
    assert "%(" not in text


def test_lines_of_shared_paragraphs_are_not_too_long():
    for cls in ESTIMATORS:
        assert max(map(len, cls.__doc__.splitlines())) <= 100


def test_values_are_inserted_and_unknown_names_are_an_error():
    def documented():
        """Do nothing.

        %(max_iter)s
        """

    text = with_shared_paragraphs(min_steps="17")(documented).__doc__
    assert 'max_iter : int or "auto", default="auto"\n' in text
    assert "at least 17 and at most 2400" in " ".join(text.split())
    documented.__doc__ = "%(no_such_name)s"
    with pytest.raises(KeyError, match="no_such_name"):
        with_shared_paragraphs()(documented)
    documented.__doc__ = None
    assert with_shared_paragraphs()(documented).__doc__ is None

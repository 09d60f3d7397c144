"""scikit-learn's own tests, run with skae's classes in the place of its own.

Each test module here imports one of scikit-learn's, from the installed package. The differences
that are intended are in `differences.py`, with a reason each.
"""

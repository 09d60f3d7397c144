"""scikit-learn's tests, run with skae's classes instead of scikit-learn's.

Each test module here imports one of scikit-learn's, from the installed package. The differences
that are intended are in `differences.py`, with a reason each.
"""

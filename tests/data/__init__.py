"""Tests of `skae._data`."""

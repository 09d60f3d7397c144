"""Tests of `skae._base`."""

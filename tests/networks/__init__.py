"""Tests of `skae._networks`."""

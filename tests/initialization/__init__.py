"""Tests of `skae._initialization`."""

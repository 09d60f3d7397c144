"""Tests of `skae.plotting`."""

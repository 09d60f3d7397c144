"""Tests of `skae._runtime`."""

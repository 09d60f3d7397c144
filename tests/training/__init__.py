"""Tests of `skae._training`."""

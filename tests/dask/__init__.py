"""Tests of `skae._dask`."""

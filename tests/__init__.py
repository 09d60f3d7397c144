"""Tests, one file for each room of the package."""

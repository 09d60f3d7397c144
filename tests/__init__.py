"""Tests of skae. The folders mirror the packages."""

"""Tests of several packages, of complete processes, and with other libraries."""

"""Tests of several packages together, of whole processes, and beside other libraries."""

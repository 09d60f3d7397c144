"""Properties that hold for many tables and configurations."""

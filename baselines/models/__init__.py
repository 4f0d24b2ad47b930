"""Flat and hierarchical models: their configurations, the modules, their names, and the published weights."""

"""Datasets in the forms of other libraries; each module is imported only when asked for."""

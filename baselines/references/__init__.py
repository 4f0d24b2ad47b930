"""Predictions without a network, which stand beside the models: means, filters, strapdown integration."""

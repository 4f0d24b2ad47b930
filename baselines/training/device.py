"""Where tensors are."""

from __future__ import annotations

import torch

from baselines.errors import OptionError

__all__ = ["torch_device"]


def torch_device(name: str) -> torch.device:
    """Return the device that torch calls ``name``; raise :class:`OptionError` where it cannot be used here."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # torch has devices whose tensors hold no numbers (meta)
    except (RuntimeError, AssertionError, ImportError) as error:
        raise OptionError("device", name, "a device that torch can use here, such as cpu") from error
    return device

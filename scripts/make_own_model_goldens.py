"""Write tests/data/models/own_models.npz: a tiny model of every name with its results.

Run it only after the comparison with the published models (tests/peers/test_golden_models.py) has passed:

    python scripts/make_own_model_goldens.py tests/data/models/own_models.npz
"""

import json
import sys

import numpy as np
import torch

from baselines import MODELS, build, config_to_dict


def main(path: str) -> None:
    """Write ``path``: x, and for each model its configuration, weights, outputs y and d(sum y^2) / dx."""
    torch.manual_seed(20261123)
    x = torch.randn(2, 40, 2)
    arrays = {"x": x.numpy()}
    for name in MODELS:
        options = {"dim": 4, "layers": 1}
        options |= {"state": 4} if "s4" in name or "mamba" in name else {}
        options |= {"hidden": 4} if "lstm" in name else {}
        if name in ("flat-s4", "hiss-s4-s4"):
            options |= {"kernel": "truncated", "kernel_length": 40 if name == "flat-s4" else 10}
        model = build(name, 2, 2, chunk=10, **options).eval()
        inputs = x.double().requires_grad_()
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        y = model.double()(inputs)
        y.square().sum().backward()
        arrays |= {f"{name}/{key}": value.numpy() for key, value in weights.items()}
        arrays[f"{name}/config"] = np.array(json.dumps(config_to_dict(model.config)))
        arrays[f"{name}/y"], arrays[f"{name}/dx"] = y.detach().numpy(), inputs.grad.numpy()
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    main(sys.argv[1])

"""
What an untrained S4 layer remembers
====================================

An S4 layer is a bank of filters, one for each channel. Before any training each kernel is a sum of
damped modes; how far back it reaches is set by the channel's step size, drawn between 0.001 and 0.1.
"""

# %%
# The kernels of four channels, by the same code that trains.
import matplotlib.pyplot as plt
import torch

from baselines.layers.s4 import S4Config, S4Layer

torch.manual_seed(0)
layer = S4Layer(S4Config(dim=64))
with torch.no_grad():
    kernels = layer.kernel(500).squeeze().numpy()
steps = torch.exp(layer.log_dt).detach().flatten().numpy()

figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
for channel in steps.argsort()[[1, 20, 42, 62]]:
    shown = kernels[channel] / abs(kernels[channel]).max()
    ax.plot(shown, linewidth=1, label=f"step {steps[channel]:.4f}")
ax.set(xlabel="samples back (50 are a second)", ylabel="kernel, scaled to 1")
ax.legend()

# %%
# How many samples back lies 95 % of a kernel's energy? A chunk of HiSS has ten.
energy = (kernels**2).cumsum(axis=1)
reach = (energy < 0.95 * energy[:, -1:]).sum(axis=1)
for share in (10, 50, 90):
    print(f"{share} % of the channels: at most {sorted(reach)[int(share / 100 * len(reach)) - 1]} samples")

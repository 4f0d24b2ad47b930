"""
A first look at recordings, as a notebook
=========================================

What a data set, an episode and a plot look like in a notebook. The recordings are real (an
excerpt of BROAD); nothing is downloaded.
"""

# %%
# A data set shows its parts and channels.
import csp_data

ds = csp_data.load("sample")
ds

# %%
# An episode draws itself: inputs, and what a model is asked for.
episode = ds.train[4]
episode

# %%
# The same with axes and units, and with a causal low-pass at 2 Hz (thick) over the signals as they are (thin).
ds.plot(part="train", episode=4, lowpass=csp_data.LowPass(hz=2, order=3, phase="causal"))

# %%
# Targets are mean velocities over steps of 0.2 s in the sensor's own frame. How fast is each trial?
import numpy as np

for e in ds.train:
    speed = np.linalg.norm(e.targets, axis=1)
    print(f"{e.id:<48} median {np.median(speed):.2f} m/s, fastest {speed.max():.2f} m/s")

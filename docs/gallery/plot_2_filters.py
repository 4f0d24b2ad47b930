"""
What a low-pass does, and what it costs
=======================================

Gain, delay, and the future that a zero-phase filter looks at. Third order, 5 Hz, at 50 Hz,
the same design in both phases.
"""

# %%
# Gain and delay of the causal filter. Run forward and backward it has the square of the gain and no delay.
import matplotlib.pyplot as plt
import numpy as np
from scipy import signal

import csp_data

rate, cut = 50.0, 5.0
causal = csp_data.LowPass(hz=cut, order=3, phase="causal")
zero = csp_data.LowPass(hz=cut, order=3, phase="zero")
w, h = signal.sosfreqz(causal.sections(rate), worN=np.linspace(0.05, 20, 800), fs=rate)
delay = -np.gradient(np.unwrap(np.angle(h)), w) / (2 * np.pi)

figure, (gain, late) = plt.subplots(2, 1, sharex=True, figsize=(7, 5), layout="constrained")
gain.plot(w, 20 * np.log10(np.abs(h)), color="#0072B2", label="causal")
gain.plot(w, 40 * np.log10(np.abs(h)), color="#D55E00", linestyle="--", label="zero phase")
gain.axvline(cut, color="0.6", linewidth=0.8)
gain.set(ylabel="gain (dB)", ylim=(-80, 5))
gain.legend()
late.plot(w, 1e3 * delay, color="#0072B2")
late.set(xlabel="frequency (Hz)", ylabel="delay of the causal one (ms)")

# %%
# A step at 1 s: the causal filter answers after it, the zero-phase one before it.
time = np.arange(100) / rate
step = (time >= 1).astype(float)[:, None]
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.plot(time, step, color="0.6", label="signal")
ax.plot(time, causal.apply(step, rate), color="#0072B2", label="causal")
ax.plot(time, zero.apply(step, rate), color="#D55E00", linestyle="--", label="zero phase")
ax.set(xlabel="time (s)", xlim=(0.5, 1.5))
ax.legend()
before = zero.apply(step, rate)[time < 1].max()
print(f"before anything has happened, the zero-phase output is already at {before:.2f}")

# %%
# On a real recording.
ds = csp_data.load("sample")
episode = ds.test[1]
some = slice(500, 750)
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.plot(episode.time[some], episode.inputs[some, 0], color="0.6", label="acc_x")
ax.plot(episode.time[some], causal.apply(episode.inputs, rate)[some, 0], color="#0072B2", label="causal")
ax.plot(
    episode.time[some], zero.apply(episode.inputs, rate)[some, 0], color="#D55E00", ls="--", label="zero phase"
)
ax.set(xlabel="time (s)", ylabel="m/s²")
ax.legend()

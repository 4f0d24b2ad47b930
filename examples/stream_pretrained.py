"""Stream a recording through the model that ships, sample by sample, as a robot would: no training, no network.

    pip install 'csp-data[baselines]'
    python stream_pretrained.py

Prints the velocity that the model says, every 0.2 s, beside the measured one, and how long a sample took.
"""

import time

import numpy as np

import baselines
import csp_data

model = baselines.load_pretrained("broad")
stream = model.streamer()

# a trial that it was not trained on; put your sensor here: channels, units and rate are in model.interface
episode = csp_data.load("sample").test[1]
predicted, took = [], []
for sample in episode.inputs:
    start = time.perf_counter()
    predicted += list(stream.push(sample))  # a prediction with every tenth sample, else nothing
    took.append(time.perf_counter() - start)

print(f"{model.about['run']['model']}, {', '.join(model.interface.targets)} in {model.interface.target_units[0]}")
for k in range(20, len(predicted), 20):
    said, measured = (" ".join(f"{v:+.2f}" for v in values) for values in (predicted[k], episode.targets[k]))
    print(f"{episode.target_time[k]:7.1f} s   predicted {said}   measured {measured}")
error = np.sqrt(np.mean(np.square(np.array(predicted) - episode.targets)))
print(f"{episode.id}: RMSE {error:.3f} m/s; {1e3 * np.median(took):.2f} ms a sample")

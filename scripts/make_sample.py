"""Cut the excerpt of BROAD that ships as the data set ``sample``.

    python scripts/make_sample.py FOLDER_WITH_THE_TRIALS

Writes csp_data/samples/broad/*.hdf5 and prints the ``files`` block of csp_data/cards/sample.toml. Values are the
publisher's, cut in time and rounded to float32; nothing is filtered or resampled.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import numpy as np

from csp_data.acquire.digests import digest_file

SECONDS = 37.0
LEAD_S = 1.0  # rest kept before the movement starts
# the first 37 s of movement of trials of every kind that has a reference without long gaps there
TRIALS = [
    "02_undisturbed_slow_rotation_B",
    "03_undisturbed_slow_rotation_C",
    "05_undisturbed_slow_rotation_with_breaks_B",
    "07_undisturbed_fast_rotation_B",
    "10_undisturbed_slow_translation_A",
    "12_undisturbed_slow_translation_C",
    "15_undisturbed_fast_translation_A",
    "18_undisturbed_fast_translation_with_breaks_B",
    "24_disturbed_tapping_A",
    "27_disturbed_phone_vibration_B",
    "30_disturbed_stationary_magnet_C",
    "31_disturbed_stationary_magnet_D",
    "33_disturbed_attached_magnet_2cm",
]
ARRAYS = ("imu_acc", "imu_gyr", "imu_mag", "opt_pos", "opt_quat")


def cut(source: Path, target: Path) -> None:
    """Write the excerpt of one trial."""
    with h5py.File(source, "r") as trial, h5py.File(target, "w", libver="v110") as excerpt:
        rate = float(trial.attrs["sampling_rate"])
        begin = max(0, int(np.flatnonzero(trial["movement"][()])[0] - LEAD_S * rate))
        rows = slice(begin, begin + int(SECONDS * rate))
        for name in ARRAYS:
            values = trial[name][rows].astype("<f4")
            excerpt.create_dataset(
                name, data=values, chunks=(len(values), 1), compression="gzip", compression_opts=9, shuffle=True
            )
        excerpt.create_dataset("movement", data=trial["movement"][rows], compression="gzip")
        excerpt.attrs["sampling_rate"] = rate
        excerpt.attrs["info"] = trial.attrs["info"]
        excerpt.attrs["changes"] = (
            f"Excerpt for csp-data: samples {rows.start} to {rows.stop - 1} of {source.name}, rounded to float32. "
            "Original: BROAD, D. Laidig et al., doi:10.3390/data6070072, CC BY 4.0."
        )


def main() -> None:
    """Cut all excerpts and print the card's block."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trials", type=Path, help="folder with the publisher's .hdf5 files")
    folder = Path(__file__).parent.parent / "csp_data" / "samples" / "broad"
    folder.mkdir(parents=True, exist_ok=True)
    args = parser.parse_args()
    print("files = [")
    for trial in TRIALS:
        target = folder / f"{trial}.hdf5"
        cut(args.trials / target.name, target)
        digest = digest_file(target)
        print(f'    {{ path = "{target.name}", size = {digest.size}, sha256 = "{digest.sha256}" }},')
    print("]")


if __name__ == "__main__":
    main()

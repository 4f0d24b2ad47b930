"""Put finished runs into the studies that ship with the package, and the tables made from them into the docs.

    python scripts/make_results.py                                          # write the tables again
    python scripts/make_results.py --check                                  # exit 1 where a page says otherwise
    python scripts/make_results.py add SWEEP... --study broad-sizes --variant half
    python scripts/make_results.py add SWEEP... --study broad --as-chosen-in broad-sizes
    python scripts/make_results.py add ABLATION --study broad-leak --variants ABLATION/leak.csv
    python scripts/make_results.py commands                                 # the sweeps of the chosen sizes

Unfinished runs stop ``add``, unless ``--leave-unfinished`` says to go without them.
``add`` takes what ``csp-baselines results`` takes (``--cpu NAME`` where runs did not record it) and refuses what
that refuses. With ``--as-chosen-in STUDY`` it takes only runs with the settings whose variant has the lowest error
on the part for choosing there, whatever the seed; ``--without-recordings`` keeps no errors by recording, which for
hundreds of simulated recordings would weigh more than all else; ``--replace`` puts the runs in the place of those
of the same model, data, variant and seed, as when a reference was repaired. On a page, a table stands between the
lines ``<!-- results: NAME -->`` and ``<!-- results: end -->``; the names are those of :data:`BLOCKS`.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from findings import kinds, of_folds, of_one_split

from baselines.presets import MODELS
from baselines.references.methods import REFERENCES
from baselines.results import Result, Results, collect, load_results, studies
from baselines.results.folds import across_folds
from baselines.results.studies import SHIPPED, add_to_study, read_study, variants_by_key, write_study
from baselines.runs.collect import find_runs
from baselines.tables.breakdown import by_recording, by_variant
from baselines.tables.digits import number, spread
from baselines.tables.grid import Grid, write
from baselines.tables.make import make_table, make_tables
from baselines.tables.render import cells, columns, grid_of, overview

ROOT = Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in ("results", "results-simulated", "quirks")),
)
BLOCK = re.compile(r"(<!-- results: (?P<name>[a-z-]+) -->\n).*?(<!-- results: end -->)", re.S)
SIZES, STUDY, FOLDS, LAYERS, SAMPLE = "broad-sizes", "broad", "broad-folds", "broad-layers", "sample"


def chosen(rows: Results) -> dict[str, Result]:
    """Return of each model the run whose variant has the lowest error on the part for choosing.

    Each variant must have run with the same seeds, or the choice would favour the one with more. Learned models
    that have not run in all variants are left out.
    """
    best: dict[str, Result] = {}
    every = {row.variant for row in rows if row.model in MODELS}
    for model in dict.fromkeys(row.model for row in rows):
        variants: dict[str, list[Result]] = {}
        for row in rows.where(model=model):
            variants.setdefault(row.variant, []).append(row)
        seeds = {variant: sorted(row.seed for row in its) for variant, its in variants.items()}
        if model in MODELS and variants.keys() != every:
            continue
        if len({tuple(its) for its in seeds.values()}) > 1:
            sys.exit(f"{model}: the variants have other seeds ({seeds}): no fair choice.")
        best[model] = min(variants.values(), key=lambda its: statistics.fmean(row.val_mse for row in its))[0]
    return best


def sizes() -> str:
    """Show the choice of sizes: errors on the part for choosing alone, and what was chosen."""
    rows = load_results(SIZES)
    variants = sorted({row.variant for row in rows if row.model in MODELS}, reverse=True)
    taken = chosen(rows)
    models = [model for model in MODELS if model in taken]
    body, marked = [], set()
    for i, model in enumerate(models):
        line = [model]
        for j, variant in enumerate(variants):
            found = [row for row in rows.where(model=model) if row.variant == variant]
            line += [number(found[0].val_mse), f"{found[0].parameters:,}"] if found else ["", ""]
            if taken[model].variant == variant:
                marked.add((i, 1 + 2 * j))
        body.append((*line, taken[model].variant))
    seeds = ", ".join(map(str, sorted({row.seed for row in rows})))
    header = ["model", *(cell for v in variants for cell in (f"{v}: val MSE", "parameters")), "taken"]
    heading = f"{rows[0].dataset}, {rows[0].kind}: errors on {rows[0].selection}, seed {seeds}"
    counts = {v: sum(taken[model].variant == v for model in models) for v in variants}
    said = ", ".join(f"`{variant}` for {count}" for variant, count in counts.items())
    left = [model for model in MODELS if model not in taken]
    note = f"Taken: {said} of {len(models)} models. Other sizes were not tried, larger ones among them." + (
        f" Not run in all sizes yet, and left out: {', '.join(left)}." if left else ""
    )
    table = write([Grid(heading, tuple(header), tuple(body), frozenset(marked), notes=(note,))], "md")
    return f"{table}\n{made(rows)}\n"


def table_of(study: str) -> str:
    """Show the whole table of a study."""
    return write([grid_of(make_table(load_results(study)))], "md")


def recordings_of(study: str) -> str:
    """Show errors by recording."""
    return write([by_recording(load_results(study))], "md")


def narrow(rows: Results) -> str:
    """Show a table without the columns of the comparison, and without notes."""
    table = make_table(rows)
    dropped = (f"vs {table.against}", "p (Holm)", "seeds")
    kept = [i for i, name in enumerate(columns(table)) if not name.startswith(dropped)]
    body = tuple(tuple(cells(table, row)[i] for i in kept) for row in table.rows)
    return write([Grid(table.heading, tuple(columns(table)[i] for i in kept), body)], "md")


def demo() -> str:
    """Show the demo's table, less the columns of the comparison, and where it was made."""
    rows = load_results(SAMPLE, model=("mean", "fir", "hiss-s4-mamba", "flat-s4"))
    return f"{narrow(rows)}\n{made(rows)}\n"


def references() -> str:
    """Show the classical references on the sample."""
    rows = load_results(SAMPLE, model=tuple(REFERENCES))
    return f"{narrow(rows)}\n{made(rows)}\n"


def made(rows: Results) -> str:
    """Say with what, where and for how long runs were made."""

    def said(name: str) -> str:
        return ", ".join(sorted({str(getattr(row, name)) for row in rows if getattr(row, name) is not None}))

    commits = ", ".join(sorted({str(row.commit)[:7] for row in rows}))
    where = f"{said('device')} ({said('cpu')})" if said("cpu") else said("device")
    seeds = sorted({row.seed for row in rows})
    hours = sum(row.hours for row in rows)
    spent = f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min" if hours >= 1 / 60 else "under a minute"
    return (
        f"{len(rows)} runs, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}; commit {commits}; "
        f"{where}, {said('threads')} thread{'' if said('threads') == '1' else 's'} a run; torch {said('torch')}; "
        f"{spent} to fit all."
    )


def fold_recordings() -> str:
    """Show errors of the best models and two references on each recording: these are many, so each has a line."""
    rows = across_folds(load_results(FOLDS))
    learned, plain = kinds(make_table(rows))
    shown = [row.model for row in (*learned[:4], plain[0], *plain[-1:])]
    names = list(rows[0].recordings)
    body = []
    marked = set()
    for i, name in enumerate(names):
        own = [[row.recordings[name].rmse for row in rows if row.model == model] for model in shown]
        means = [statistics.fmean(values) for values in own]
        marked.add((i, 1 + means.index(min(means))))
        body.append((name, *(number(value) for value in means)))
    heading = (
        f"{rows[0].dataset}, {rows[0].kind}: root mean squared error (m/s) on each recording, mean over seeds"
    )
    return write([Grid(heading, ("recording", *shown), tuple(body), frozenset(marked))], "md")


def layers() -> str:
    """Show all kinds of layers, flat: those of this study beside the published ones, and two references."""
    rows = load_results(LAYERS)
    published = [model for model in MODELS if model.startswith("flat-")]
    beside = load_results(FOLDS, model=("mean", "strapdown", *published))
    return write([grid_of(make_table([*beside, *rows]))], "md")


def fold_commands(study: str, compared: str = "") -> str:
    """Show the command that makes a study of folds, and where it was run."""
    rows = load_results(study)
    epochs = {row.epochs for row in rows if row.epochs is not None}
    seeds = sorted({row.seed for row in rows})
    models = list(dict.fromkeys(row.model for row in rows if row.model not in REFERENCES))
    named = "references published" if set(models) == set(MODELS) else " ".join(models)
    return (
        f"{made(rows)}\n\n*Not run by the tests: needs the 18 trials, and hours.*\n\n```console\n"
        f"$ csp-baselines sweep --datasets broad --raw FOLDER_OF_THE_TRIALS --folds {rows[0].folds} \\\n"
        f"      --models {named} --seeds {' '.join(map(str, seeds))} --set train.epochs={epochs.pop()} "
        f"--out sweeps/{study}\n$ csp-baselines table sweeps/{study}{compared}\n```\n"
    )


def _half(model: str) -> list[str]:
    """Return the settings of the variant called half: widths half of those called small."""
    kind, *levels = model.split("-")
    if kind == "flat":
        return ["model.dim=32", *(["model.hidden=32"] if levels[0] == "lstm" else [])]
    low, high = levels
    return [
        "model.low_dim=16",
        *(["model.low_hidden=16"] if low == "lstm" else []),
        "model.high_dim=32",
        *(["model.high_hidden=32"] if high == "lstm" else []),
    ]


def commands() -> str:
    """Return the sweeps of the chosen sizes: one command for all models with the same settings."""
    taken = chosen(load_results(SIZES))
    epochs = {row.epochs for row in load_results(SIZES) if row.epochs is not None}
    return _sweeps(
        "csp-baselines sweep --datasets broad --raw FOLDER_OF_THE_TRIALS",
        {model: _half(model) if taken[model].variant == "half" else [] for model in MODELS if model in taken},
        f"--seeds 0-4 --set train.epochs={next(iter(epochs))}",
        "sweeps/broad",
    )


def _sweeps(start: str, settings: dict[str, list[str]], given: str, out: str) -> str:
    """Return commands that run every model with its settings, and the references with the first."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for model, own in settings.items():
        groups.setdefault(tuple(own), []).append(model)
    lines = []
    for i, (own, models) in enumerate(groups.items()):
        names = " ".join(["references", *models] if i == 0 else models)
        lines.append(f"$ {start} \\\n      --models {names} \\\n      {' '.join([given, *own])} --out {out}")
    return "\n".join(lines)


def simulated_commands() -> str:
    """Show the commands that make the simulated study."""
    names = tuple(dict.fromkeys(row.dataset for row in load_results("simulated-strict")))
    shown = [f"$ csp-data simulate {name} trees/{name} --hours 2.2 --seed 0" for name in names]
    for protocol in ("strict", "paper"):
        shown.append(
            _sweeps(
                f"csp-baselines sweep --datasets {' '.join(names)} --raw 'trees/{{name}}' --protocol {protocol} "
                "--training strict",
                {model: _half(model) for model in MODELS},
                "--seeds 0-2 --set train.epochs=2 train.window_stride_s=20",
                f"sweeps/simulated-{protocol}",
            )
        )
    text = "\n".join(shown)
    return f"*Not run by the tests: it takes hours.*\n\n```console\n{text}\n```\n"


def command_block() -> str:
    """Show the commands that make the study."""
    return (
        f"{made(load_results(STUDY))}\n\n*Not run by the tests: needs the 18 trials, and hours.*\n\n"
        f"```console\n{commands()}\n$ csp-baselines table sweeps/broad\n```\n"
    )


def beside_each_other(study: str) -> str:
    """Show errors on all data sets of a study, as the published table has them."""
    rows = load_results(study)
    return f"{write([overview(make_tables(rows))], 'md')}\n{made(rows)}\n"


def leaks(rows: Results) -> str:
    """Show for each leak, a pair of variants, how the error with it differs from that without."""

    def pair(variant: str) -> tuple[str, bool]:
        leak, _, arm = variant.rpartition(", ")
        return leak, arm == "leaky"

    return f"{write(by_variant(rows, 'leak', pair), 'md')}\n{made(rows)}\n"


def filters(rows: Results) -> str:
    """Show for each low-pass how the error with it differs from that without."""

    def pair(variant: str) -> tuple[str, bool]:
        return ("", False) if variant == "no filter" else (variant, True)

    def cutoff(row: Result) -> list[tuple[float, str]]:
        return [(float(word) if word.replace(".", "", 1).isdigit() else 0.0, word) for word in row.variant.split()]

    return f"{write(by_variant(sorted(rows, key=cutoff), 'low-pass', pair), 'md')}\n{made(rows)}\n"


def fractions(rows: Results) -> str:
    """Show for each share of the training recordings the error of every model, all recordings reported once."""
    errors: dict[tuple[str, str], list[float]] = {}
    for row in across_folds(rows):
        errors.setdefault((row.model, row.variant), []).append(row.test_mse**0.5)
    models, variants = (tuple(dict.fromkeys(key[i] for key in errors)) for i in (0, 1))
    shares = sorted(variants, key=lambda share: float(share.split()[0]))
    body, marked = [], set()
    for model in sorted(models, key=lambda model: -statistics.fmean(errors[model, shares[-1]])):
        found = [errors[model, share] for share in shares]
        means = [statistics.fmean(values) for values in found]
        cells = [
            spread(mean, statistics.stdev(v) if len(v) > 1 else None) for mean, v in zip(means, found, strict=True)
        ]
        body.append((model, *cells, f"{100 * (means[0] / means[-1] - 1):+.0f} %"))
    for j, share in enumerate(shares, 1):
        lowest = min(models, key=lambda model: statistics.fmean(errors[model, share]))
        marked.add(([line[0] for line in body].index(lowest), j))
    heading = (
        f"{rows[0].dataset}, {rows[0].kind}, protocol {rows[0].protocol}: test RMSE (m/s) with a share of the "
        f"training recordings, {rows[0].folds} folds"
    )
    header = ("model", *shares, f"{shares[0]} against {shares[-1]}")
    return f"{write([Grid(heading, header, tuple(body), frozenset(marked))], 'md')}\n{made(rows)}\n"


BLOCKS: dict[str, tuple[tuple[str, ...], Callable[[], str]]] = {
    "broad-sizes": ((SIZES,), sizes),
    "broad": ((STUDY,), lambda: table_of(STUDY)),
    "broad-recordings": ((STUDY,), lambda: recordings_of(STUDY)),
    "broad-findings": ((STUDY,), lambda: of_one_split(load_results(STUDY))),
    "broad-commands": ((STUDY, SIZES), command_block),
    "broad-folds": ((FOLDS,), lambda: table_of(FOLDS)),
    "broad-folds-findings": ((FOLDS, STUDY), lambda: of_folds(load_results(FOLDS), load_results(STUDY))),
    "broad-folds-recordings": ((FOLDS,), fold_recordings),
    "broad-folds-commands": ((FOLDS,), lambda: fold_commands(FOLDS)),
    "broad-layers": ((LAYERS, FOLDS), layers),
    "broad-layers-commands": ((LAYERS,), lambda: fold_commands(LAYERS, f" study:{FOLDS}")),
    "broad-lowpass": (("broad-lowpass",), lambda: filters(load_results("broad-lowpass"))),
    "broad-fraction": (("broad-fraction",), lambda: fractions(load_results("broad-fraction"))),
    "simulated-strict": (("simulated-strict",), lambda: beside_each_other("simulated-strict")),
    "simulated-paper": (("simulated-paper",), lambda: beside_each_other("simulated-paper")),
    "simulated-commands": (("simulated-strict", "simulated-paper"), simulated_commands),
    "simulated-lowpass": (("simulated-lowpass",), lambda: filters(load_results("simulated-lowpass"))),
    "broad-leak": (("broad-leak",), lambda: leaks(load_results("broad-leak"))),
    "simulated-leak": (("simulated-leak",), lambda: leaks(load_results("simulated-leak"))),
    "demo": ((SAMPLE,), demo),
    "sample-references": ((SAMPLE,), references),
}
"""Name on a page to the studies that it needs and what makes it."""


def rendered(page: str) -> str:
    """Return a page with its tables made anew."""

    def block(found: re.Match[str]) -> str:
        if found["name"] not in BLOCKS:
            sys.exit(f"there is no block {found['name']!r}: {', '.join(BLOCKS)}")
        needed, make = BLOCKS[found["name"]]
        missing = [study for study in needed if study not in studies()]
        made_ = f"*No runs of the study {missing[0]} yet.*" if missing else make().strip("\n")
        return f"{found[1]}\n{made_}\n\n{found[3]}"

    return BLOCK.sub(block, page)


def render(check: bool) -> None:
    """Write the tables of all pages, or end with 1 where one differs."""
    differing = []
    for page in PAGES:
        text = page.read_text()
        again = rendered(text)
        if again != text:
            differing.append(page.name)
            if not check:
                page.write_text(again)
    if check and differing:
        sys.exit(f"{', '.join(differing)}: other than the results. Run python scripts/make_results.py.")


def add_runs(options: argparse.Namespace) -> None:
    """Add finished runs to a study."""
    variant = options.variant if options.variants is None else variants_by_key(options.variants)
    folders = options.runs
    if options.leave_unfinished:
        folders, unfinished = find_runs(folders)
        print(f"left out, unfinished: {', '.join(path.name for path in unfinished) or 'none'}")
    rows = collect(folders, options.study, variant=variant, cpu=options.cpu)
    if options.without_recordings:
        rows = [replace(row, recordings={}) for row in rows]
    if options.as_chosen_in:
        wanted = {row.config for row in chosen(load_results(options.as_chosen_in)).values()}
        rows = [row for row in rows if row.config in wanted]
        if not rows:
            sys.exit(f"none of these runs has the settings chosen in {options.as_chosen_in}")
    path = SHIPPED / f"{options.study}.csv"
    if options.replace:
        anew = {_place(row) for row in rows}
        write_study(path, [row for row in read_study(path) if _place(row) not in anew])
    held = add_to_study(path, rows)
    print(f"{options.study}: {len(rows)} of these runs, {len(held)} in all")


def _place(row: Result) -> tuple[object, ...]:
    return row.dataset, row.protocol, row.recipe_hash, row.model, row.variant, row.seed


def main() -> None:
    """Add, show commands, or render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    actions = parser.add_subparsers(dest="action")
    adding = actions.add_parser("add")
    adding.add_argument("runs", nargs="+", type=Path)
    adding.add_argument("--study", required=True)
    adding.add_argument("--variant", default="")
    adding.add_argument("--variants", type=Path, metavar="KIND.csv")
    adding.add_argument("--cpu")
    adding.add_argument("--leave-unfinished", action="store_true")
    adding.add_argument("--as-chosen-in", metavar="STUDY")
    adding.add_argument("--without-recordings", action="store_true")
    adding.add_argument("--replace", action="store_true")
    actions.add_parser("commands")
    options = parser.parse_args()
    if options.action == "commands":
        print(commands())
        return
    if options.action == "add":
        add_runs(options)
    render(options.check)


if __name__ == "__main__":
    main()

"""The page: widgets on the left, a figure on the right, and the card below."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.models import CustomJS
from panel.io.resources import LOCAL_DIST

from csp_data.dataset import Dataset
from csp_data.describe.text import markdown
from csp_data.errors import CspDataError, OptionError
from csp_data.plot.figures import usual_lowpass
from csp_data.plot.style import DARK, to_svg
from csp_data.predictions import PredictionsError
from csp_data.signal.lowpass import LowPass
from csp_data.view.selection import FILTERED, PREDICTED, SHOWN, Selection, first_predicted

__all__ = ["build"]

STYLE = """
:host { flex: 1 1 560px; min-width: 0; max-width: min(1000px, 96vw); min-height: 60px; }
div { width: 100%; }
figure { margin: 0; overflow-x: auto; }
svg { width: 100%; min-width: 560px; height: auto; }
.csp-error { color: #a12a00; font-weight: 600; }
"""
"""Below 560 px letters could not be read: there the figure goes below the choices, and scrolls."""

CARD = """
code { color: inherit; }
.codehilite .na { color: #d3aacd; }
table { display: block; overflow-x: auto; }
"""
"""Panel's light blue and pink can hardly be read, and a wide table made the page of a phone wider."""

ARROW = (
    '<svg viewBox="0 0 25 20" xmlns="http://www.w3.org/2000/svg"><path d="M0,0 25,0 12.5,20Z" fill="white"/></svg>'
)
IN_THE_DARK = f"""
@media (prefers-color-scheme: dark) {{
  :root {{
    color-scheme: dark; {DARK}
    --design-background-color: var(--paper); --design-background-text-color: var(--ink);
    --design-surface-color: #1d2126; --design-surface-text-color: var(--ink);
    background: var(--paper);
  }}
  select:not([multiple]).bk-input {{ background-image: url('data:image/svg+xml;utf8,{ARROW}') !important; }}
  .noUi-target {{ background: var(--line) !important; }}
  :host(.pn-loading)::after {{ background: var(--paper) !important; opacity: 0.5; }}
  .csp-error {{ color: #ff9d7a !important; }}
  a {{ color: #7cc4f5 !important; }}
}}
"""
"""Panel and figures take these colours where they are defined; the rest Panel has for white pages alone."""

ON_READY = """
const visit = (root) => {
  const title = root.querySelector(".bk-slider-title")?.firstChild.textContent.replace(/: $/, "");
  for (const handle of root.querySelectorAll(".noUi-handle")) handle.setAttribute("aria-label", title);
  for (const it of root.querySelectorAll("*")) if (it.shadowRoot) visit(it.shadowRoot);
};
visit(document);
addEventListener("popstate", () => location.reload());
"""
"""Tells a screen reader what a slider is for, which Bokeh's do not; shows what back and forward lead to."""

WAYS = {"figure": "Figure", "target": "csp-data view --target"}
"""Where a person chooses what errors call by its name in Python."""
ORDERS = range(1, 9)
"""Of filters to choose from."""


class _Page:
    """The widgets of one visitor, and what they change."""

    def __init__(self, dataset: Dataset, runs: Mapping[str, Path], selection: Selection) -> None:
        self.dataset, self.runs, self.raw = dataset, runs, selection.raw
        if selection.figure == "lowpass" and selection.lowpass is None:
            selection = replace(selection, lowpass=usual_lowpass(dataset.channels))
        self._changing, self._address = False, selection.address()
        nyquist = dataset.channels.rate_hz / 2
        lowpass = selection.lowpass
        self.figure = pn.widgets.Select(name="Figure", options=list(SHOWN), value=selection.figure)
        self.part = pn.widgets.Select(name="Part", options=list(dataset.parts), value=selection.part)
        self.episode = pn.widgets.Select(
            name="Episode", options=self._episodes(selection.part), value=selection.episode
        )
        self.channels = pn.widgets.MultiSelect(
            name="Inputs (none chosen: all)",
            options=list(dataset.channels.names),
            value=list(selection.channels),
            size=min(6, len(dataset.channels.names)),
        )
        self.hz = pn.widgets.FloatSlider(
            name="Low-pass cut-off (Hz), 0 for none",
            start=0,
            end=round(0.98 * nyquist, 2),
            step=round(nyquist / 250, 3),
            value=0 if lowpass is None else lowpass.hz,
        )
        order = 3 if lowpass is None else lowpass.order
        self.order = pn.widgets.Select(name="Order of the low-pass", options=sorted({*ORDERS, order}), value=order)
        self.phase = pn.widgets.Select(
            name="Phase of the low-pass",
            options=["causal", "zero"],
            value="causal" if lowpass is None else lowpass.phase,
        )
        self.run = pn.widgets.Select(
            name="Predictions of a run" if runs else "Predictions of a run (needs --runs FOLDER)",
            options={"none": "", **{name: name for name in runs}},
            value=selection.run or "",
            disabled=not runs,
        )
        self.shown = pn.pane.HTML("<p>Drawing …</p>", css_classes=["csp-figure"], stylesheets=[STYLE])
        self._watch_widgets()
        pn.state.onload(self._update)  # the choices are there before the first figure is

    def _watch_widgets(self) -> None:
        self.part.param.watch(self._part_changed, "value")
        self.run.param.watch(self._run_changed, "value")
        for widget in (self.figure, self.episode, self.channels, self.hz, self.order, self.phase):
            # a slider tells while it is dragged; drawing waits until it is let go
            widget.param.watch(self._update, "value_throttled" if widget is self.hz else "value")

    def _episodes(self, part: str) -> dict[str, int]:
        return {f"{i}: {row.id}": i for i, row in enumerate(self.dataset.split(part).rows)}

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Draw once after several choices, not after each."""
        outer, self._changing = self._changing, True
        try:
            yield
        finally:
            self._changing = outer
        self._update()

    def _part_changed(self, event: Any) -> None:
        with self._together():
            self.episode.param.update(options=self._episodes(event.new), value=0)

    def _run_changed(self, event: Any) -> None:
        """Show what the run predicts: a figure that shows it, of an episode that it has seen."""
        with self._together():
            try:
                self.selection().prediction()
            except PredictionsError:
                if found := self._first_predicted(event.new):
                    self.part.value, self.episode.value = found
            if event.new and self.figure.value not in PREDICTED:
                self.figure.value = PREDICTED[0]

    def _first_predicted(self, run: str) -> tuple[str, int] | None:
        try:
            return first_predicted(self.dataset, self.runs[run])
        except PredictionsError:
            return None  # a damaged file, which the figure says

    def selection(self) -> Selection:
        """Return what the widgets say."""
        hz = float(self.hz.value or 0)
        filtered = LowPass(hz, self.order.value, self.phase.value) if hz > 0 else None
        return Selection(
            self.dataset,
            self.runs,
            figure=self.figure.value,
            part=self.part.value,
            episode=self.episode.value,
            lowpass=filtered,
            run=self.run.value or None,
            channels=tuple(self.channels.value),
            raw=self.raw,
        )

    def _update(self, *_: Any) -> None:
        if self._changing:
            return
        for widget in (self.channels, self.hz, self.order, self.phase):
            widget.disabled = self.figure.value not in FILTERED
        if self.figure.value == "lowpass" and not self.hz.value:  # then order and phase would change nothing
            self.hz.value = usual_lowpass(self.dataset.channels).hz
        self.shown.loading = True
        try:
            selection = self.selection()
            self._follow(selection.address())
            self.shown.object = _drawn(selection)
        except CspDataError as error:
            said = error.typed(WAYS) if isinstance(error, OptionError) else str(error)
            self.shown.object = f'<p class="csp-error" role="alert">{html.escape(said)}</p>'
        finally:
            self.shown.loading = False

    def _follow(self, address: str) -> None:
        """Make the browser's address ask for what is chosen; the first stays as it is, so that back leads away."""
        if address != self._address and pn.state.location is not None:
            pn.state.location.search = f"?{address}"
        self._address = address

    def layout(self) -> Any:
        """Return the page."""
        dataset = self.dataset
        title = pn.pane.HTML(f"<h1>{html.escape(dataset.name)}: {html.escape(dataset.kind)}</h1>")
        widgets = pn.Column(
            *(self.figure, self.part, self.episode, self.channels, self.hz, self.order, self.phase, self.run),
            width=320,
        )
        # a prepared file's card may be anybody's: neither HTML nor scripts of it, nor pictures from elsewhere
        card = pn.pane.Markdown(
            markdown(dataset.card, level=2),
            renderer_options={"html": False},
            plugins=[_without_pictures],
            stylesheets=[CARD],
            sizing_mode="stretch_width",
        )
        return pn.Column(
            title,
            pn.FlexBox(widgets, self.shown, align_items="flex-start", sizing_mode="stretch_width"),
            pn.Accordion(("Card", card), sizing_mode="stretch_width", margin=10),
            sizing_mode="stretch_width",
        )


def _drawn(selection: Selection) -> str:
    """Return the figure, and what a screen reader says of it."""
    figure = selection.draw()
    said = html.escape(f"{selection.figure}: {' '.join(figure.get_suptitle().split())}", quote=True)
    return f'<figure role="img" aria-label="{said}">{to_svg(figure)}</figure>'


def _without_pictures(parser: Any) -> None:
    parser.disable("image")


def build(
    dataset: Dataset,
    runs: Mapping[str, Path],
    arguments: Mapping[str, str] | None = None,
    raw: Path | None = None,
) -> Any:
    """Build the page of one visitor.

    Parameters
    ----------
    dataset
        The data set.
    runs
        From :func:`~csp_data.view.selection.find_runs`.
    arguments
        What the page's address asks for (:meth:`Selection.asked`).
    raw
        Folder of the raw recordings; by default what ships, or the home's.

    Returns
    -------
    panel.Column
        The page; one that says what is wrong where the address asks for what is not there.
    """
    if pn.state.curdoc is not None:
        pn.config.raw_css.append(IN_THE_DARK)  # of this visitor's page alone
        # Panel sets this with the HTML, and not where it makes the page anew for a browser that came late: it then
        # asked the network for styles
        pn.state.curdoc.template_variables["dist_url"] = LOCAL_DIST
        pn.state.curdoc.js_on_event("document_ready", CustomJS(code=ON_READY))
    try:
        selection = Selection.asked(dataset, runs, arguments or {}, raw)
    except CspDataError as error:
        back = f'<a href="?">Show {html.escape(dataset.name)} from its first episode on</a>'
        return pn.pane.HTML(f"<h1>Not shown</h1><p>{html.escape(str(error))}</p><p>{back}</p>")
    return _Page(dataset, runs, selection).layout()

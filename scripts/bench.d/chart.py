"""The chart of README.md and BENCHMARKS.md, drawn from the figures: bars that are
readable on light and dark pages."""

from xml.etree import ElementTree
from xml.sax.saxutils import escape

WIDTH = 760
LABEL = 200
BAR = 16
STEP = 22
PANEL_HEAD = 46

# The sections that it draws.
SHOWN = ("transfers", "files", "connections")

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 15px; }
.note { fill: #59636e; font-size: 12px; }
.ours { fill: #1f6feb; }
.peer { fill: #9aa4af; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .note { fill: #9198a1; }
  .ours { fill: #4493f8; }
  .peer { fill: #656c76; }
}
"""


def panels(figures):
    """(title, unit, rows) of what was measured; a row is (label, value, whether it
    is tfd's)."""
    if transfers := figures.get("transfers"):
        for way, ours, copy in (("up", "PUT", "sent"), ("down", "GET", "received")):
            rows = [
                (f"tfd, {name.split()[0]}".replace("plain", "TF cipher"), value, True)
                for name, value in transfers.items()
                if name in (f"plain {ours}", f"TLS {ours}")
            ]
            rows += [
                (name.removesuffix(f" {way}"), value, False)
                for name, value in transfers.items()
                if name.endswith(f" {way}")
            ]
            yield f"{transfers['size']} MiB {copy}, more is better", "MiB/s", rows
    if files := figures.get("files"):
        rows = [
            (f"tfd, {name.split()[0]}".replace("plain", "TF cipher"), value, True)
            for name, value in files.items()
            if name in ("plain SNDFILE", "TLS SNDFILE")
        ]
        rows += [
            (name.removesuffix(" up"), value, False)
            for name, value in files.items()
            # vsftpd with TLS takes a hundred times as long: no bar could show it.
            if name.endswith(" up") and name != "vsftpd with TLS up"
        ]
        yield f"{files['count']:,} files of 4 KiB sent, less is better", "µs a file", rows
    if connections := figures.get("connections"):
        rows = [
            (name, value, name != "signs")
            for name, value in connections.items()
            if f"{name}, one" in connections or name == "signs"
        ]
        rows = [
            ("RSA-2048 signs alone" if name == "signs" else name, *rest) for name, *rest in rows
        ]
        yield "Sessions begun and ended by 16 clients, more is better", "per second", rows


def draw(entries):
    """The chart of these sections as SVG."""
    figures = {name: entry["figures"] for name, entry in entries.items()}
    dates = sorted({entries[name]["date"] for name in SHOWN if name in entries})
    parts, y = [], 0
    for title, unit, rows in panels(figures):
        parts.append(f'<text class="title" x="0" y="{y + 20}">{escape(title)}</text>')
        parts.append(f'<text class="note" x="0" y="{y + 37}">{escape(unit)}</text>')
        y += PANEL_HEAD
        longest = max(value for _, value, _ in rows)
        for label, value, ours in rows:
            width = max(1, value / longest * (WIDTH - LABEL - 80))
            middle = y + BAR - 4
            parts.append(
                f'<text x="{LABEL - 8}" y="{middle}" text-anchor="end">{escape(label)}</text>'
            )
            parts.append(
                f'<rect class="{"ours" if ours else "peer"}" x="{LABEL}" y="{y}" '
                f'width="{width:.1f}" height="{BAR}" rx="2"/>'
            )
            parts.append(f'<text x="{LABEL + width + 6:.1f}" y="{middle}">{value:,.0f}</text>')
            y += STEP
        y += 14
    parts.append(
        f'<text class="note" x="0" y="{y + 14}">Measured {" and ".join(dates)} by scripts/bench: loopback, files '
        "in memory, client and server on the same cores.</text>"
    )
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 24}" '
        f'width="{WIDTH}" height="{y + 24}" role="img" aria-label="tfd compared with its peers">\n'
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )
    ElementTree.fromstring(drawing)
    return drawing

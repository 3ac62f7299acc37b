"""The look of a report: one style sheet for screen (light and dark), phone and paper."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fcfbf8; --card: #ffffff; --ink: #1f2328; --soft: #646a73; --line: #e5e1d8;
  --c0: #2a6f97; --c1: #e09f3e; --c2: #6a994e; --c3: #9e5a8c; --track: #ece8df;
  --serif: "Iowan Old Style", "Charter", "Bitstream Charter", "Source Serif 4", "Palatino Linotype",
    "Georgia", serif;
  --sans: system-ui, -apple-system, "Segoe UI", "Inter", "Roboto", "Noto Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Code", "JetBrains Mono", "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181b; --card: #1d2024; --ink: #e8e5df; --soft: #9aa0a8; --line: #32363c;
    --c0: #61a5c2; --c1: #e9b872; --c2: #95bf74; --c3: #c98bb9; --track: #2b2f34;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0 auto; padding: 3.5rem 1.5rem 2rem; max-width: 62rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.6 var(--sans);
  -webkit-font-smoothing: antialiased;
}
h1, h2 { font-family: var(--serif); font-weight: 600; text-wrap: balance; letter-spacing: -.01em; }
h1 { font-size: 2.4rem; line-height: 1.15; margin: 0 0 .5rem; }
h2 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem; }
p { max-width: 42rem; margin: 0 0 1rem; }
.lead { font-size: 1.15rem; color: var(--soft); margin-bottom: 1.5rem; }
.note { color: var(--soft); }
section { margin-top: 3rem; }
figure { margin: 0 0 1.5rem; }
figcaption, .caption { font-size: .875rem; color: var(--soft); margin-top: .6rem; max-width: 42rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin-top: 1.25rem; font-size: .9375rem; }
nav a { color: var(--c0); text-decoration: none; border-bottom: 1px solid transparent; }
nav a:hover { border-color: currentColor; }
a:focus-visible { outline: 2px solid var(--c0); outline-offset: 3px; }
dl {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: 1rem 1.5rem;
  margin: 0 0 1.5rem; padding: 1.1rem 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem;
}
dt { font-size: .75rem; color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9375rem; font-variant-numeric: tabular-nums; }
th, td { padding: .55rem 1.25rem .55rem 0; text-align: left; vertical-align: top; }
thead th {
  font-size: .8125rem; font-weight: 500; color: var(--soft); border-bottom: 1.5px solid var(--ink);
  vertical-align: bottom; white-space: nowrap;
}
tbody tr + tr > * { border-top: 1px solid var(--line); }
tbody th { font-weight: 600; }
td.n { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
.metrics { width: 100%; }
.metrics th[scope=row] { width: 60%; }
.metrics thead th:not(:first-child) { text-align: right; }
.metrics small {
  display: block; font-size: .8125rem; line-height: 1.45; font-weight: 400; color: var(--soft);
  max-width: 34rem;
}
.metrics .v { font-weight: 650; }
.better { color: var(--soft); font-weight: 400; }
.bar {
  position: relative; display: block; width: 7.5rem; height: 4px; margin: .35rem 0 0 auto;
  background: var(--track); border-radius: 2px;
}
.bar i { position: absolute; inset: 0 auto 0 0; background: var(--c0); border-radius: 2px; }
.bar b { position: absolute; top: -3px; bottom: -3px; width: 2px; margin-left: -1px; background: var(--ink); }
pre {
  margin: 0 0 1.5rem; padding: .9rem 1.1rem; overflow-x: auto; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem; font: .875rem/1.55 var(--mono);
}
code { font-family: inherit; }
svg { display: block; max-width: 100%; height: auto; overflow: visible; }
svg text { font: 12px var(--sans); fill: var(--soft); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--line); fill: none; }
.c0 { fill: var(--c0); background: var(--c0); } .c1 { fill: var(--c1); background: var(--c1); }
.c2 { fill: var(--c2); background: var(--c2); } .c3 { fill: var(--c3); background: var(--c3); }
.chart { display: inline-block; vertical-align: top; max-width: 100%; margin-right: 2.5rem; }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin-bottom: .5rem; font-size: .875rem; }
.key i { display: inline-block; width: .75rem; height: .75rem; margin-right: .45rem; border-radius: 2px; }
.picture img {
  display: block; max-width: 100%; height: auto; background: #fff; border-radius: .5rem;
  border: 1px solid var(--line);
}
.gallery {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--w)), 1fr)); gap: .75rem;
}
.gallery figure { margin: 0; break-inside: avoid; }
.gallery img { width: 100%; }
.gallery figcaption { font-size: .75rem; margin-top: .3rem; overflow-wrap: anywhere; line-height: 1.4; }
footer {
  margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line);
  font-size: .8125rem; color: var(--soft);
}
@media (max-width: 40rem) {
  body { padding: 1.75rem 1rem; }
  h1 { font-size: 1.85rem; }
  .metrics small { max-width: 15rem; }
  .bar { width: 4.5rem; }
  th, td { padding-right: .9rem; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc; --track: #ddd; }
  @page { margin: 16mm; }
  body { max-width: none; padding: 0; font-size: 10pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  nav { display: none; }
  section { margin-top: 1.5rem; }
  h2 { break-after: avoid; }
  tr, figure, dl { break-inside: avoid; }
}
"""

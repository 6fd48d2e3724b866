"""The look of the report: system fonts, a quiet palette, light and dark, narrow and wide, screen and paper."""

from __future__ import annotations

STYLE = """\
:root {
  --paper: #fbfbf8; --card: #ffffff; --ink: #1d2521; --quiet: #5a655f; --line: #e7e9e4; --edge: #c3c9c2;
  --leaf: #2c6a4c; --link: #23618f;
  --good: #1b6b48; --good-back: #e6f2eb; --warn: #855400; --warn-back: #fbf1dc; --bad: #a5331c; --bad-back: #fbe8e3;
  --mark: #eef5f0;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
  color: var(--ink); background: var(--paper); scroll-behavior: smooth;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #151a18; --card: #1b211e; --ink: #e3e8e4; --quiet: #a0aba4; --line: #2b332f; --edge: #48534d;
    --leaf: #7fc4a0; --link: #86bde6;
    --good: #7fd0a5; --good-back: #1b3327; --warn: #e5b860; --warn-back: #362b14; --bad: #f0937c; --bad-back: #3b201a;
    --mark: #1f2d26;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; }
main { max-width: 1160px; margin: 0 auto; padding: clamp(20px, 4vw, 48px) clamp(16px, 4vw, 40px) 64px; }
h1, h2, h3, p, dl, ul, figure { margin: 0; }
h1 { font-size: clamp(1.7rem, 4vw, 2.4rem); line-height: 1.15; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.45rem; line-height: 1.25; letter-spacing: -0.01em; padding-bottom: 10px;
  border-bottom: 1px solid var(--edge); }
h3 { font-size: 1.02rem; line-height: 1.35; margin-bottom: 10px; }
a { color: var(--link); }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.86em; }
.brand { color: var(--leaf); font-weight: 600; font-size: 0.9rem; margin-bottom: 6px; }
.lead { color: var(--quiet); font-size: 1.08rem; margin-top: 8px; max-width: 46em; overflow-wrap: anywhere; }
.quiet, .note { color: var(--quiet); font-size: 0.92rem; }

.verdict { display: flex; gap: 14px; align-items: flex-start; margin-top: 24px; padding: 14px 18px;
  border-radius: 8px; }
.verdict div { display: flex; flex-direction: column; min-width: 0; overflow-wrap: anywhere; }
.verdict strong { font-size: 1.12rem; }
.mark { flex: none; width: 28px; height: 28px; border-radius: 50%; display: grid; place-items: center; font-weight: 700;
  color: var(--card); background: var(--tone); }
.verdict.good, .callout.good { --tone: var(--good); background: var(--good-back); }
.verdict.warn, .callout.warn { --tone: var(--warn); background: var(--warn-back); }
.verdict.bad { --tone: var(--bad); background: var(--bad-back); }
.verdict.plain { --tone: var(--quiet); background: var(--line); }
.verdict strong, .callout strong { color: var(--tone); }
.verdict.plain strong { color: var(--ink); }

.tiles { display: flex; flex-wrap: wrap; gap: 1px; margin-top: 20px;
  background: var(--line); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.tiles > div { background: var(--card); padding: 14px 18px 16px; flex: 1 1 190px; min-width: 0; }
.tiles.six > div { flex-basis: 30%; }
.tiles dt { color: var(--quiet); font-size: 0.88rem; }
.tiles dd { margin: 0; display: flex; flex-direction: column; }
.tiles b { font-size: 1.5rem; line-height: 1.3; font-weight: 650; font-variant-numeric: tabular-nums;
  letter-spacing: -0.01em; }
.tiles span { color: var(--quiet); font-size: 0.86rem; line-height: 1.4; }

nav { display: flex; flex-wrap: wrap; gap: 4px 20px; margin-top: 24px; font-size: 0.95rem; }
nav a { text-decoration: none; padding: 4px 0; }
nav a:hover { text-decoration: underline; }

section { margin-top: 52px; scroll-margin-top: 16px; }
section > * + * { margin-top: 20px; }
.part > * + * { margin-top: 12px; }
.part > h3 + * { margin-top: 0; }
section > * + .part, section > .part + * { margin-top: 32px; }
section > h2 + .part { margin-top: 20px; }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 28px 40px; align-items: start; }
.pair > :only-child { grid-column: 1 / -1; }
.pair + .part { margin-top: 28px; }

.facts > div { display: grid; grid-template-columns: 10.5em minmax(0, 1fr); gap: 2px 16px; padding: 7px 0;
  border-top: 1px solid var(--line); }
.facts > div:first-child { border-top: 0; padding-top: 0; }
.facts dt { color: var(--quiet); }
.facts dd { margin: 0; overflow-wrap: anywhere; }
.digest { word-break: break-all; }

ul.plain, ul.cautions { padding-left: 1.2em; }
li + li { margin-top: 4px; }
li { overflow-wrap: anywhere; }
.caution { border-left: 3px solid var(--warn); padding-left: 18px; }
.callout { border-radius: 8px; padding: 16px 20px; }
.callout p { margin-top: 4px; max-width: 62em; }

.scroll { overflow-x: auto; max-width: 100%; }
.scroll:focus-visible, summary:focus-visible, a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: 0.93rem; }
caption { text-align: left; color: var(--quiet); font-size: 0.92rem; padding-bottom: 6px; }
caption span { display: block; position: sticky; left: 0; width: fit-content; max-width: calc(100vw - 44px); }
th, td { padding: 7px 14px 7px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  font-weight: 400; }
th:last-child, td:last-child { padding-right: 4px; }
thead th { color: var(--quiet); font-size: 0.88rem; border-bottom: 1px solid var(--edge); vertical-align: bottom; }
tbody th { font-weight: 550; white-space: nowrap; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead .number { white-space: normal; }
td.words { min-width: 5.5em; }
td.prose { min-width: 17em; }
tr.marked > * { background: var(--mark); }
tr.marked > :first-child { box-shadow: inset 3px 0 0 var(--leaf); padding-left: 10px; }
.badge { display: inline-block; padding: 0 9px; border-radius: 999px; font-size: 0.88rem; white-space: nowrap; }
.badge.good { color: var(--good); background: var(--good-back); }
.badge.bad { color: var(--bad); background: var(--bad-back); }

figcaption { margin-bottom: 6px; }
figcaption .note { display: block; }
.plot { width: 100%; min-width: 0; }

details { border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
summary { cursor: pointer; padding: 9px 16px; color: var(--link); font-size: 0.95rem; }
details > .scroll, details > :not(summary) { margin: 4px 16px 14px; max-width: calc(100% - 32px); }
pre { margin: 0; padding: 14px 16px; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  white-space: pre-wrap;
  overflow-wrap: anywhere; line-height: 1.5; }
details pre { border: 0; padding: 4px 0; }

pre code { font-size: 1em; }
.beside { display: flex; flex-wrap: wrap; gap: 20px 56px; align-items: flex-start; }
.beside > * { min-width: 0; max-width: 100%; }
.beside > figure { flex: 1 1 100%; }
.confusion table { width: auto; }
.confusion th, .confusion td { padding: 3px; border: 0; text-align: center; vertical-align: middle; }
.confusion thead th { padding-bottom: 6px; }
.confusion th:first-child { text-align: right; padding-right: 12px; white-space: nowrap; }
.confusion td:last-child { padding-left: 16px; text-align: right; }
.cell { display: block; min-width: 2.9em; padding: 6px 6px; border-radius: 4px; font-variant-numeric: tabular-nums; }
.cell.none { color: var(--quiet); opacity: 0.65; }
.cell.right { background: rgba(40, 120, 181, var(--share)); }
.cell.wrong { background: rgba(209, 96, 43, var(--share)); font-weight: 600; }
.cell.strong { color: #fff; }

.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); gap: 20px; }
.gallery figcaption { display: flex; flex-direction: column; margin: 8px 0 0; font-size: 0.9rem; line-height: 1.4; }
.gallery figcaption span:nth-child(n + 3) { color: var(--quiet); }
.gallery .name { overflow-wrap: anywhere; }
.pixels { image-rendering: pixelated; display: block; max-width: 100%; height: auto; border: 1px solid var(--line);
  border-radius: 4px; }
.lines { display: block; width: 100%; max-width: 320px; height: auto; }
.lines text { font-size: 10px; fill: var(--quiet); }
.series { grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); }
noscript { display: block; max-width: 1160px; margin: 0 auto 40px; padding: 0 40px; }

@media (max-width: 760px) {
  .pair { grid-template-columns: minmax(0, 1fr); }
  .tiles > div, .tiles.six > div { padding: 12px 14px; flex-basis: calc(50% - 1px); }
  .tiles b { font-size: 1.25rem; }
  .facts > div { grid-template-columns: minmax(0, 1fr); }
  section { margin-top: 44px; }
  tr > :first-child { position: sticky; left: 0; z-index: 1; background: var(--paper); }
  details tr > :first-child { background: var(--card); }
  tr.marked > :first-child { background: var(--mark); }
  .confusion thead th:first-child { white-space: normal; max-width: 7em; }
  .cell { min-width: 2.1em; padding: 6px 3px; }
  details .scroll caption span { max-width: calc(100vw - 76px); }
}
@media print {
  nav, summary { display: none; }
  .scroll { overflow: visible; }
  section { break-inside: auto; }
  figure, tr { break-inside: avoid; }
}
"""

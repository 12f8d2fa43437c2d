import type { Column } from "../base/table.ts";

/**
 * An HTML page that needs nothing else: no scripts, fonts or files from outside. Legible in light and dark and on
 * paper. `body` is HTML.
 */
export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeXml(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;
}

/** Text as it may stand in XML and HTML, in attributes too. */
export function escapeXml(text: string): string {
  const entities: { readonly [character: string]: string } = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}

/** Facts by their names. */
export function htmlFacts(facts: readonly (readonly [name: string, text: string])[]): string {
  const lines = facts.map(([name, text]) => `<dt>${escapeXml(name)}</dt><dd>${escapeXml(text)}</dd>`);
  return `<dl>\n${lines.join("\n")}\n</dl>`;
}

/** Columns as a table whose rows are named by the column `names`, with a class for rows that stand out. */
export function htmlTable(
  columns: readonly Column[],
  label: string,
  names = 0,
  classOf: (row: number) => string | undefined = () => undefined,
): string {
  const side = ({ align }: Column) => (align === "right" ? ' class="number"' : "");
  const heads = columns.map((each) => `<th scope="col"${side(each)}>${escapeXml(each.title)}</th>`);
  const rows = (columns[0]?.cells ?? []).map((_, row) => {
    const cells = columns.map((each, i) => {
      const text = escapeXml(each.cells[row] ?? "");
      return i === names ? `<th scope="row"${side(each)}>${text}</th>` : `<td${side(each)}>${text}</td>`;
    });
    const kind = classOf(row);
    return `<tr${kind ? ` class="${kind}"` : ""}>${cells.join("")}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeXml(label)}"><table>
<thead><tr>${heads.join("")}</tr></thead>
<tbody>
${rows.join("\n")}
</tbody></table></div>`;
}

const style = `
:root { color-scheme: light dark; --page:#ffffff; --text:#1b1f24; --soft:#57606a; --rule:#d0d7de; --band:#f6f8fa;
  --good:#0b6b3a; --good-page:#e6f6ec; --bad:#a40e26; --bad-page:#ffebe9; }
@media (prefers-color-scheme: dark) { :root { --page:#0f1318; --text:#e6e9ed; --soft:#9aa4af; --rule:#323a44;
  --band:#171d24; --good:#6fdd9b; --good-page:#0f2a1b; --bad:#ff9a9a; --bad-page:#3a1214; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; letter-spacing: -0.01em; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.5rem; }
p { margin: 0.5rem 0 1rem; max-width: 46rem; }
.verdict { font-size: 1.1rem; font-weight: 600; padding: 0.75rem 1rem; border-radius: 0.4rem; max-width: none; }
.good { color: var(--good); background: var(--good-page); }
.bad { color: var(--bad); background: var(--bad-page); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1.25rem; margin: 1.25rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
figure { margin: 0 0 2rem; } figcaption { color: var(--soft); max-width: 46rem; margin-bottom: 0.5rem; }
figure > svg { max-width: 100%; height: auto; display: block; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.35rem 0.5rem; border-bottom: 1px solid var(--rule); white-space: nowrap; }
td:last-child:not(.number) { white-space: normal; min-width: 8rem; }
thead th { color: var(--soft); font-weight: 600; } tbody th { font-weight: 500; }
.number { text-align: right; } .reference { background: var(--band); }
.broken { background: var(--bad-page); color: var(--bad); }
details { margin-top: 1.5rem; } summary { cursor: pointer; } li { margin: 0.25rem 0; }
@media print { main { max-width: none; padding: 0; } .scroll { overflow: visible; } th, td { white-space: normal; } h2, figcaption { break-after: avoid; } figure, tr { break-inside: avoid; } }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 0.5rem; } }
`;

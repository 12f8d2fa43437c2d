// Tables: a column of sentences is wide enough to be read, so that a table of many columns scrolls sideways instead of
// standing a word to a line.

/** A rule of Markdown that gives the columns with long cells a least width, and keeps short names in one line. */
export function readableColumns({ tokens }) {
  for (const rows of tablesOf(tokens))
    rows[0].forEach(({ open }, column) => {
      const cells = rows.flatMap((row) => row[column] ?? []);
      const longest = Math.max(...cells.map(({ text }) => text.length));
      if (longest > 30) open.attrSet("style", `min-width: ${Math.min(longest / 4, 20)}em`);
      else if (longest <= 8) for (const cell of cells) cell.open.attrJoin("class", "short");
    });
}

/** The cells of each table, by rows. */
function tablesOf(tokens) {
  const tables = [];
  for (const [i, token] of tokens.entries())
    if (token.type === "table_open") tables.push([]);
    else if (token.type === "tr_open") tables.at(-1).push([]);
    else if (token.type === "th_open" || token.type === "td_open")
      tables
        .at(-1)
        .at(-1)
        .push({ open: token, text: tokens[i + 1].content });
  return tables;
}

/** Gives a page with a table of six columns or more the place of its outline. */
export function wideTables(page, source) {
  if (/^\|([^|]*\|){6}/m.test(source)) Object.assign(page.frontmatter, { aside: false, pageClass: "wide" });
}

export const style = `
.vp-doc th, .vp-doc td { padding: 6px 10px; line-height: 1.45; vertical-align: top; }
.vp-doc .short { white-space: nowrap; }
.wide .VPDoc .container .content .content-container { max-width: none; }
.wide .VPDoc .container .content { max-width: 1100px; }
.wide .vp-doc > div > :is(p, ul, ol) { max-width: 44em; }
`;

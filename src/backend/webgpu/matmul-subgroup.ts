import type { MatmulShape, MatmulTile } from "./tiles.ts";

/** Lanes of a subgroup that the family is written for. */
export const subgroupLanes = 8;

/** Columns of a tile: four for each lane. */
const tileColumns = 4 * subgroupLanes;

/** Multiply-adds from which tiles of sixteen rows, which take twice as long to compile, are worth it. */
const largeWork = 2 ** 22;

/** The tile of least estimated cost; results with fewer columns than rows may be computed as their transposes. */
export function subgroupTile({ rows, columns, inner, batches, work }: MatmulShape): MatmulTile {
  const large = batches * rows * columns * inner >= largeWork;
  let best: MatmulTile | undefined;
  let least = Infinity;
  for (const exchanged of [false, true]) {
    const [m, n] = exchanged ? [columns, rows] : [rows, columns];
    const [ofA, ofB] = exchanged ? [work[1], work[0]] : work;
    for (const groups of large ? [1, 2] : [1]) {
      const tiles = Math.ceil(m / (8 * groups)) * Math.ceil(n / tileColumns) * batches;
      // Loads of b cost as much as the work on twelve rows. A row takes sixteen multiply-adds of a lane, which
      // makes sixteen elements of b in that time, and four of a for each group.
      const cost = tiles * (12 + 8 * groups + ofB + (groups * ofA) / 4);
      if (cost >= least) continue;
      least = cost;
      best = {
        template: "matmul-subgroup",
        rows: 8 * groups,
        columns: tileColumns,
        stage: 4,
        exchanged,
        constants: { row_groups: groups },
        bodies: (alongInner) => ({ multiply: multiplyLines(groups, alongInner), row_of: rowLines(groups) }),
        enable: ["subgroups"],
      };
    }
  }
  return best!; // the first costs less than Infinity
}

/**
 * The body of `multiply`: four inner indices of each row, times the four columns of each lane. Along the inner axis
 * a row is one quad of one lane; otherwise its four numbers are in quads of four inner indices.
 */
function multiplyLines(groups: number, alongInner: boolean): string[] {
  const rows = 8 * groups;
  const number = (row: number, inner: number) => {
    const quad = (inner * rows + row) >> 2;
    return `subgroupBroadcast(a4[${quad >> 3}].${"xyzw"[row & 3]}, ${quad & 7}u)`;
  };
  return Array.from({ length: rows }, (_, row) =>
    alongInner
      ? `sums[${row}] += b4 * subgroupBroadcast(a4[${row >> 3}], ${row & 7}u);`
      : `sums[${row}] += b4 * vec4<f32>(${[0, 1, 2, 3].map((inner) => number(row, inner)).join(", ")});`,
  );
}

/** The body of `row_of`: one of so many rows, chosen by the bits of its number. */
function rowLines(groups: number): string[] {
  const chosen = (from: number, count: number): string => {
    if (count === 1) return `sums[${from}]`;
    const half = count / 2;
    return `select(${chosen(from, half)}, ${chosen(from + half, half)}, (r & ${half}) != 0)`;
  };
  return [`return ${chosen(0, 8 * groups)};`];
}

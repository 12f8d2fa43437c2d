import type { ShaderOptions } from "./shader.ts";
import type { MatmulShape, MatmulTile, SharedChoice } from "./tiles.ts";

/** Workgroup memory that every device has. */
const workgroupBytes = 16384;

const powers = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/**
 * The tile of least estimated cost: what an invocation multiplies, loads and stages for each inner index, times the
 * inner indices of a slice, times the rounds in which the device works through the tiles. Narrow results get narrow
 * tiles, small ones with long sums get slices.
 */
export function sharedTile(
  { rows, columns, inner, batches }: MatmulShape,
  choice: SharedChoice,
  { busy }: ShaderOptions,
): MatmulTile {
  const depth = inner >= 16 ? 16 : inner >= 8 ? 8 : 4;
  let best: MatmulTile | undefined;
  let least = Infinity;
  for (const threads of new Set([64, choice.threads])) {
    const together = Math.max(1, busy / threads / 8);
    for (const slices of powers.filter((n) => n <= 16 && n * depth <= Math.max(inner, depth))) {
      const stage = (slices > 1 ? 4 : depth) * slices;
      for (const columnThreads of powers.filter((n) => n * slices <= threads)) {
        const rowThreads = threads / slices / columnThreads;
        for (const rowQuads of powers.filter((n) => n <= choice.quads)) {
          for (const columnQuads of powers.filter((n) => n <= choice.quads)) {
            const quads = rowThreads * rowQuads + columnThreads * columnQuads;
            const bytes = 16 * (stage * quads + (slices > 1 ? threads : 1));
            if (bytes > workgroupBytes) continue;
            const [tileRows, tileColumns] = [4 * rowThreads * rowQuads, 4 * columnThreads * columnQuads];
            const tiles = Math.ceil(rows / tileRows) * Math.ceil(columns / tileColumns) * batches;
            const each = rowQuads * columnQuads * 16 + (rowQuads + columnQuads) * 4;
            const staging = ((quads * slices) / threads) * 24;
            const adding = slices > 1 ? rowQuads * columnQuads * 4 * (slices + 8) : 0;
            const cost =
              Math.ceil(tiles / together) * ((each + staging) * Math.ceil(inner / slices) + adding);
            if (cost >= least) continue;
            least = cost;
            best = {
              template: "matmul-shared",
              rows: tileRows,
              columns: tileColumns,
              stage,
              exchanged: false,
              constants: {
                row_threads: rowThreads,
                column_threads: columnThreads,
                slices,
                row_quads: rowQuads,
                column_quads: columnQuads,
                depth: stage / slices,
              },
            };
          }
        }
      }
    }
  }
  return best!; // one slice of one quad each always fits
}

import type { ShaderOptions } from "./shader.ts";
import type { MatmulShape, MatmulTile, MatrixChoice } from "./tiles.ts";

/** How the subgroups of a workgroup divide a tile: rows by columns. */
const arrangements = [
  [2, 2],
  [4, 1],
  [1, 4],
] as const;

const counts = [1, 2, 4];

/** Elements between lines of a staged tile, as the template has it. */
const padding = 8;

/**
 * The tile of least estimated cost, in cycles of a subgroup: what multiplications, loads of matrices, staged quads and
 * the way out take, times the rounds in which the device works through the tiles.
 */
export function matrixTile(
  { rows, columns, inner, batches }: MatmulShape,
  choice: MatrixChoice,
  { busy }: ShaderOptions,
): MatmulTile {
  const { lanes, workgroupBytes, precision } = choice;
  const bytes = precision === "float16" ? 2 : 4;
  const threads = 4 * lanes;
  const together = Math.max(1, busy / threads / 8);
  const multiplication = (choice.rows * choice.columns * choice.inner) / 256;
  let best: MatmulTile | undefined;
  let least = Infinity;
  for (const [rowGroups, columnGroups] of arrangements) {
    for (const rowMatrices of counts) {
      for (const columnMatrices of counts) {
        const tileRows = rowGroups * rowMatrices * choice.rows;
        const tileColumns = columnGroups * columnMatrices * choice.columns;
        for (const stage of [2 * choice.inner, choice.inner]) {
          // Whichever way the operands lie, a tile is no larger than this.
          const staged =
            Math.max((tileRows + padding) * stage, tileRows * (stage + padding)) +
            Math.max((tileColumns + padding) * stage, tileColumns * (stage + padding));
          if (bytes * staged + 16 * choice.rows * choice.columns > workgroupBytes) continue;
          const tiles = Math.ceil(rows / tileRows) * Math.ceil(columns / tileColumns) * batches;
          const matrices = rowMatrices * columnMatrices;
          const quads = ((tileRows + tileColumns) * choice.inner) / 4 / threads;
          const step = matrices * multiplication + (rowMatrices + columnMatrices) * 8 + quads * 24;
          // A barrier on both sides of each stage.
          const each = step * Math.ceil(inner / choice.inner) + Math.ceil(inner / stage) * 40;
          const cost = Math.ceil(tiles / together) * (each + matrices * 60);
          if (cost >= least) continue;
          least = cost;
          best = {
            template: "matmul-matrix",
            rows: tileRows,
            columns: tileColumns,
            stage,
            exchanged: false,
            constants: {
              lanes,
              matrix_rows: choice.rows,
              matrix_columns: choice.columns,
              matrix_inner: choice.inner,
              row_groups: rowGroups,
              column_groups: columnGroups,
              row_matrices: rowMatrices,
              column_matrices: columnMatrices,
              stage,
            },
            aliases: { staged: precision === "float16" ? "f16" : "f32" },
            enable: ["chromium_experimental_subgroup_matrix", "subgroups"],
          };
        }
      }
    }
  }
  return best!; // one matrix of each subgroup fits into the least workgroup memory that there is
}

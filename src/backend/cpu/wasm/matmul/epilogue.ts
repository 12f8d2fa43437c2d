import type { MatmulKernel } from "../../../../compile/kernel.ts";
import type { Code, Local } from "../assemble.ts";
import { loadAs } from "../expressions.ts";
import { usesOf, writeStores } from "../stores.ts";
import { type Site, valuesIn } from "./site.ts";

export interface Block {
  readonly batch: Local<"i32">;
  readonly firstRow: Local<"i32">;
  readonly rowEnd: Local<"i32">;
  readonly firstColumn: Local<"i32">;
  readonly columnEnd: Local<"i32">;
  readonly sums: Local<"i32">;
  readonly rowBytes: number;
  readonly vector: boolean;
  readonly bytes: number;
  /** Whether no vector reaches beyond the columns. */
  readonly exact: boolean;
}

/** Computes what is stored from the sums of a block, row by row. */
export function writeEpilogue(code: Code, site: Site, kernel: MatmulKernel, block: Block): void {
  const { batch, row, column, stores, dtype } = kernel;
  const vector = { variable: column.name, results: true, extent: column.extent, exact: block.exact };
  const values = valuesIn(code, site, [batch, row, column], {
    uses: usesOf(stores, 2),
    afterwards: 2,
    vector: block.vector ? vector : undefined,
  });
  const type = block.vector ? "v128" : dtype === "float32" ? "f32" : "f64";
  const sum = code.local(type);
  values.setAccumulator(0, sum);
  const [r, c] = [values.variable(row.name), values.variable(column.name)];
  const [line, at] = [code.local("i32"), code.local("i32")];
  const body = values.piece(2);
  const reach = block.vector ? { exact: block.exact, at: c, stop: block.columnEnd } : undefined;
  const writes = writeStores(body, values, stores, reach);
  code.assign(values.variable(batch.name), block.batch);
  code.append(values.piece(0));
  code.assign(r, block.firstRow).assign(line, block.sums);
  code.repeat(r, block.rowEnd, 1, () => {
    code.append(values.piece(1));
    code.assign(at, line);
    code.each(c, block.firstColumn, block.columnEnd, block.vector ? 4 : 1, () => {
      code.assign(sum, loadAs(type, at));
      code.append(body);
      code.append(writes);
      code.advance(at, block.vector ? 16 : block.bytes);
    });
    code.advance(line, block.rowBytes);
  });
}

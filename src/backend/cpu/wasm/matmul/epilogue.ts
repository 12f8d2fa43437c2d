import type { MatmulKernel } from "../../../../compile/kernel.ts";
import type { Arguments } from "../arguments.ts";
import type { Code, Local, Module } from "../assemble.ts";
import { storeLanes, writeStores } from "../stores.ts";
import { Values } from "../values.ts";

export interface Block {
  readonly batch: Local;
  readonly firstRow: Local;
  readonly rowEnd: Local;
  readonly firstColumn: Local;
  readonly columnEnd: Local;
  readonly sums: Local;
  readonly rowBytes: number;
  readonly vector: boolean;
  readonly bytes: number;
}

/** Computes what is stored from the sums of a block, row by row. */
export function writeEpilogue(
  code: Code,
  module: Module,
  kernel: MatmulKernel,
  given: Arguments,
  args: Local,
  block: Block,
): void {
  const { batch, row, column, stores, dtype } = kernel;
  const start = code.piece();
  const values = new Values(code, {
    module,
    roots: stores.flatMap(({ index, expr }) => [index, expr]),
    levels: new Map([
      [batch.name, 0],
      [row.name, 1],
      [column.name, 2],
    ]),
    afterwards: 2,
    vector: block.vector
      ? { name: column.name, extent: column.extent, exact: column.extent % 4 === 0 }
      : undefined,
    ...given.access(start, args),
  });
  const sum = code.local(block.vector ? "v128" : dtype === "float32" ? "f32" : "f64");
  values.setAccumulator(0, sum);
  const [r, c] = [values.variable(row.name), values.variable(column.name)];
  const [line, at] = [code.local("i32"), code.local("i32")];
  const body = values.piece(2);
  const writes = writeStores(body, values, stores, 2, block.vector, (into, address, held) => {
    storeLanes(into, address, held, column.extent % 4 === 0, c, block.columnEnd);
  });
  start.get(block.batch).set(values.variable(batch.name));
  code.append(start);
  code.append(values.piece(0));
  code.get(block.firstRow).set(r).get(block.sums).set(line);
  code.loop((nextRow) => {
    code.append(values.piece(1));
    code.get(line).set(at).get(block.firstColumn).set(c);
    code.loop((nextColumn) => {
      code
        .get(at)
        .memory(block.vector ? "v128.load" : dtype === "float32" ? "f32.load" : "f64.load")
        .set(sum);
      code.append(body);
      code.append(writes);
      code
        .get(at)
        .i32(block.vector ? 16 : block.bytes)
        .op("i32.add")
        .set(at);
      code
        .get(c)
        .i32(block.vector ? 4 : 1)
        .op("i32.add")
        .tee(c)
        .get(block.columnEnd)
        .op("i32.lt_u");
      nextColumn("if");
    });
    code.get(line).i32(block.rowBytes).op("i32.add").set(line);
    code.get(r).i32(1).op("i32.add").tee(r).get(block.rowEnd).op("i32.lt_u");
    nextRow("if");
  });
}

import type { DeviceDType } from "../../../base/dtype.ts";
import { walk } from "../../../compile/expr.ts";
import { expressionsOf, type Kernel, reads, writesOf } from "../../../compile/kernel.ts";
import type { Code, Local, Push } from "./assemble.ts";
import { valueType } from "./operations.ts";

/** What a kernel is given when it runs: addresses of its values, then its host numbers, in one block of memory. */
export class Arguments {
  /** Values in the order of their addresses. */
  readonly values: readonly number[];
  /** Host numbers in the order in which they are stored, 8 bytes each. */
  readonly scalars: readonly number[];

  constructor(kernel: Kernel) {
    this.values = [...new Set([...reads(kernel), ...writesOf(kernel)])];
    const scalars = new Set<number>();
    walk(expressionsOf(kernel), (e) => {
      if (e.kind === "hostNumber") scalars.add(e.index);
    });
    this.scalars = [...scalars];
  }

  /** Where host numbers begin in the block. */
  get scalarsAt(): number {
    return Math.ceil(this.values.length / 2) * 8;
  }

  get bytes(): number {
    return this.scalarsAt + 8 * this.scalars.length;
  }

  /** How a function that has the block's address in `block` gets at them; `start` is the code it begins with. */
  access(
    start: Code,
    block: Local,
  ): {
    readonly pointer: (value: number) => Local<"i32">;
    readonly hostNumber: (i: number, dtype: DeviceDType) => Push;
  } {
    const pointers = this.values.map((_, i) => {
      const local = start.local("i32", `p${i}`);
      start
        .get(block)
        .memory("i32.load", 4 * i)
        .set(local);
      return local;
    });
    return {
      pointer: (value) => pointers[this.values.indexOf(value)]!,
      hostNumber: (i, dtype) => (code) =>
        code.get(block).memory(`${valueType(dtype)}.load`, this.scalarsAt + 8 * this.scalars.indexOf(i)),
    };
  }
}

import { bytesOf, keep, resume } from "./accumulators.ts";
import type { Code, Local } from "./assemble.ts";
import { i32, tee } from "./expressions.ts";
import type { Range } from "./reduction.ts";

const { add, lt, gt, eq } = i32;

/**
 * Takes a block of columns a few rows at a time, and keeps what runs in scratch memory meanwhile. Sums down one
 * column after the other would wait for memory at each row; the order within a sum is the same.
 */
export class Sweep {
  readonly #scratch: Local<"i32">;
  readonly #extent: number;
  /** Rows of a sweep. */
  readonly #rows: number;
  /** Where the running values of the current place lie. */
  readonly #slot: Local<"i32">;
  readonly range: Range;
  #registers: readonly Local[] = [];

  constructor(code: Code, scratch: Local<"i32">, extent: number, rows: number) {
    this.#scratch = scratch;
    this.#extent = extent;
    this.#rows = rows;
    this.#slot = code.local("i32");
    this.range = { from: code.local("i32"), to: code.local("i32") };
  }

  around = (code: Code, block: () => void): void => {
    const { from, to } = this.range;
    const some = () => {
      code.if(gt(tee(to, add(from, this.#rows)), this.#extent), () => code.assign(to, this.#extent));
      code.assign(this.#slot, this.#scratch);
      block();
    };
    code.assign(from, 0).doWhile(some, lt(tee(from, to), this.#extent));
  };

  /** Begins anew, or where the sweep before left off. */
  begin(code: Code, registers: readonly Local[], anew: Code): void {
    this.#registers = registers;
    code.if(
      i32.isZero(this.range.from),
      () => code.append(anew),
      () => resume(code, this.#slot, registers),
    );
  }

  /** Runs `finish` after the last row, else keeps the registers for the next sweep. */
  end(code: Code, finish: Code): void {
    const registers = this.#registers;
    code.if(
      eq(this.range.to, this.#extent),
      () => code.append(finish),
      () => keep(code, this.#slot, registers),
    );
    code.advance(this.#slot, bytesOf(registers.length));
  }
}

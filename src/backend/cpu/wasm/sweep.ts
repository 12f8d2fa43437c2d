import type { Code, Local } from "./assemble.ts";
import { i32, loadAs, tee } from "./expressions.ts";

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
  readonly from: Local<"i32">;
  readonly to: Local<"i32">;

  constructor(code: Code, scratch: Local<"i32">, extent: number, rows: number) {
    this.#scratch = scratch;
    this.#extent = extent;
    this.#rows = rows;
    this.#slot = code.local("i32");
    this.from = code.local("i32");
    this.to = code.local("i32");
  }

  around = (code: Code, block: () => void): void => {
    const { from, to } = this;
    const some = () => {
      code.if(gt(tee(to, add(from, this.#rows)), this.#extent), () => code.assign(to, this.#extent));
      code.assign(this.#slot, this.#scratch);
      block();
    };
    code.assign(from, 0).doWhile(some, lt(tee(from, to), this.#extent));
  };

  /** Begins anew, or where the sweep before left off. */
  begin(code: Code, registers: readonly Local[], anew: Code): void {
    const resume = () =>
      registers.forEach((register, i) => {
        code.assign(register, loadAs(register.type, this.#slot, 16 * i));
      });
    code.if(i32.isZero(this.from), () => code.append(anew), resume);
  }

  /** Runs `finish` after the last row, else keeps the registers for the next sweep. */
  end(code: Code, registers: readonly Local[], finish: readonly Code[]): void {
    const keep = () =>
      registers.forEach((register, i) => {
        code.store(`${register.type}.store`, this.#slot, 16 * i, register);
      });
    code.if(eq(this.to, this.#extent), () => code.append(...finish), keep);
    code.advance(this.#slot, 16 * registers.length);
  }
}

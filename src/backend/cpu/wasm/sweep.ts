import type { Code, Local } from "./assemble.ts";

/**
 * Takes a block of columns a few rows at a time, and keeps what runs in scratch memory meanwhile. Sums down one
 * column after the other would wait for memory at each row; the order within a sum is the same.
 */
export class Sweep {
  readonly #scratch: Local;
  readonly #extent: number;
  /** Rows of a sweep. */
  readonly #rows: number;
  /** Where the running values of the current place lie. */
  readonly #slot: Local;
  readonly from: Local;
  readonly to: Local;

  constructor(code: Code, scratch: Local, extent: number, rows: number) {
    this.#scratch = scratch;
    this.#extent = extent;
    this.#rows = rows;
    this.#slot = code.local("i32");
    this.from = code.local("i32");
    this.to = code.local("i32");
  }

  around = (code: Code, block: () => void): void => {
    const { from, to } = this;
    code.i32(0).set(from);
    code.loop((again) => {
      code.get(from).i32(this.#rows).op("i32.add").tee(to).i32(this.#extent).op("i32.gt_u");
      code.when(() => code.i32(this.#extent).set(to));
      code.get(this.#scratch).set(this.#slot);
      block();
      code.get(to).tee(from).i32(this.#extent).op("i32.lt_u");
      again("if");
    });
  };

  /** Begins anew, or where the sweep before left off. */
  begin(code: Code, registers: readonly Local[], anew: Code): void {
    code
      .get(this.from)
      .op("i32.eqz")
      .when(
        () => code.append(anew),
        () => {
          registers.forEach((register, i) => {
            code
              .get(this.#slot)
              .memory("v128.load", 16 * i)
              .set(register);
          });
        },
      );
  }

  /** Runs `finish` after the last row, else keeps the registers for the next sweep. */
  end(code: Code, registers: readonly Local[], finish: readonly Code[]): void {
    code
      .get(this.to)
      .i32(this.#extent)
      .op("i32.eq")
      .when(
        () => {
          for (const part of finish) code.append(part);
        },
        () => {
          registers.forEach((register, i) => {
            code
              .get(this.#slot)
              .get(register)
              .memory("v128.store", 16 * i);
          });
        },
      );
    code
      .get(this.#slot)
      .i32(16 * registers.length)
      .op("i32.add")
      .set(this.#slot);
  }
}

import { internal } from "../base/errors.ts";
import { reads, writesOf } from "./kernel.ts";
import { describeKernel } from "./print.ts";
import { bindingOf, type Program } from "./program.ts";
import type { Target } from "./target.ts";
import type { ValueId } from "./value.ts";

/**
 * What must hold of every program, after all passes: no kernel binds more than the target allows, and what keeps the rest
 * of another value lies where that does. Scheduling, fusion and the memory plan each see to it with what they know; this
 * is where it shows.
 */
export function verify(
  program: Program,
  over: ReadonlyMap<ValueId, ValueId>,
  { maxBindings, name }: Target,
): void {
  for (const [value, old] of over)
    if (bindingOf(program, value) !== bindingOf(program, old))
      internal(`a program of ${name} keeps the rest of a value elsewhere. Please report this.`);
  for (const kernel of program.kernels) {
    if (kernel.kind === "loop") continue; // its body is a program
    const bound = new Set([...reads(kernel), ...writesOf(kernel)].map((value) => bindingOf(program, value)));
    if (bound.size > maxBindings) {
      internal(
        `a kernel of ${name} binds ${bound.size} buffers where ${maxBindings} are allowed: ${describeKernel(kernel)}. Please report this.`,
      );
    }
  }
}

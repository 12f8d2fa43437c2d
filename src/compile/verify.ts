import { internal } from "../base/errors.ts";
import { writesOf } from "./kernel.ts";
import { reads } from "./plan.ts";
import { describeKernel } from "./print.ts";
import { bindingOf, type Program } from "./program.ts";
import type { Target } from "./target.ts";

/**
 * What must hold of every program, after all passes: no kernel binds more than the target allows. Scheduling, fusion and
 * the memory plan each see to it with what they know; this is where it shows.
 */
export function verify(program: Program, { maxBindings, name }: Target): void {
  for (const kernel of program.kernels) {
    const bound = new Set([...reads(kernel), ...writesOf(kernel)].map((value) => bindingOf(program, value)));
    if (bound.size > maxBindings) {
      internal(
        `a kernel of ${name} binds ${bound.size} buffers where ${maxBindings} are allowed: ${describeKernel(kernel)}. Please report this.`,
      );
    }
  }
}

import type { MatmulKernel } from "../../../../compile/kernel.ts";
import type { Arguments } from "../arguments.ts";
import type { Module } from "../assemble.ts";
import type { Defined } from "../nest.ts";
import { defineCompute } from "./compute.ts";
import { definePack } from "./pack.ts";
import { scheduleMatmul } from "./schedule.ts";

// Packed, register-blocked matrix product after Goto and van de Geijn (2008). Phase one packs b, or a piece of its columns, into
// panels as wide as the microkernel's tile, once, shared by all threads, unless there are too few rows for that to be worth it.
// Phase two takes blocks of the result: packs its rows of a
// where they do not lie contiguous in memory, runs the microkernel over panels, and applies the epilogue while the
// block is in cache. Each element is one sum over the inner axis in blocks of `innerBlock`, in order, wherever the
// block boundaries of rows and columns fall, so results do not depend on the number of threads.

/** Functions `pack` and `compute` of (begin, end, arguments, packed b, scratch of the thread). */
export function defineMatmul(
  module: Module,
  kernel: MatmulKernel,
  given: Arguments,
  { relaxed }: { readonly relaxed: boolean },
): Defined {
  const schedule = scheduleMatmul(kernel, relaxed);
  const { bytes, rows, columns, pieces, b, streamed } = schedule;
  const packs = typeof b === "number" || streamed ? [] : [definePack(module, kernel, given, schedule, b)];
  const compute = defineCompute(module, kernel, given, schedule);
  const notes = [`tiles of ${rows} x ${columns}`];
  if (typeof b === "number") notes.push("second operand in place");
  if (streamed) notes.push("second operand packed by blocks");
  if (relaxed) notes.push("fused multiply-add");
  return {
    phases: [...packs, compute],
    // Packed b, as much of it as is there at once.
    scratch: packs.length * pieces.round * pieces.panels * columns * kernel.inner.extent * bytes,
    note: notes.join(", "),
  };
}

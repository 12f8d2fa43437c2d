import { internal } from "../../base/errors.ts";
import { Emitter } from "../../compile/emit.ts";
import type { Expr } from "../../compile/expr.ts";
import { type Axis, expressionsOf, type ScanKernel, type ScatterKernel } from "../../compile/kernel.ts";
import { printConstant, wgsl } from "./dialect.ts";
import { type Body, digits, perPoint } from "./grid.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";
import { block } from "./sums.ts";

// Kernels whose order is fixed: one invocation works through each lane, so that results never vary.

export function printScan(kernel: ScanKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { lane, position, dtype } = kernel;
  const emitter = new Emitter(wgsl(bindings), expressionsOf(kernel), new Map([[position.name, 1]]));
  const x = emitter.print(kernel.expr, 1);
  const index = emitter.print(kernel.index, 1);
  const zero = printConstant(0, dtype);
  // Floats: the sum within this block, that of the whole blocks before it in this block of blocks, and so on.
  const levels =
    dtype === "float32" ? Math.max(2, Math.ceil(Math.log(position.extent) / Math.log(block))) : 1;
  const sums = Array.from({ length: levels }, (_, level) => `sum${level}`);
  const done = sums.slice(1).flatMap((sum, level) => {
    const full = block ** (level + 1);
    return [
      `if (${position.name} % ${full} == ${full - 1}) {`,
      `${sum} += ${sums[level]};`,
      `${sums[level]} = ${zero};`,
    ];
  });
  const close = sums.slice(1).map(() => "}");
  return perPoint(lane.extent, options, [
    ...digits([lane], "point"),
    ...emitter.statements(0),
    ...sums.map((sum) => `var ${sum} = ${zero};`),
    `for (var ${position.name} = 0; ${position.name} < ${position.extent}; ${position.name}++) {`,
    ...emitter.statements(1),
    `${sums[0]} += ${x};`,
    bindings.store(
      kernel.value,
      index,
      sums
        .slice(1)
        .reduce((inner, sum) => `${sum} + ${inner.includes("+") ? `(${inner})` : inner}`, sums[0]!),
      dtype,
    ),
    ...done,
    ...close,
    "}",
  ]);
}

export function printScatter(kernel: ScatterKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { lane, position, source, dtype } = kernel;
  if (dtype === "bool") internal("a scatter of booleans");
  const part = (exprs: readonly Expr[], axis: Axis) => {
    const emitter = new Emitter(wgsl(bindings), exprs, new Map([[axis.name, 0]]));
    const texts = exprs.map((e) => emitter.print(e, 0));
    return { texts, statements: emitter.statements(0) };
  };
  const copy = part([kernel.index, kernel.initial], position);
  const add = part([kernel.target, kernel.addend], source);
  // The index of the result, with its position replaced by the target.
  const at = part([kernel.index], position);
  return perPoint(lane.extent, options, [
    ...digits([lane], "point"),
    `for (var ${position.name} = 0; ${position.name} < ${position.extent}; ${position.name}++) {`,
    ...copy.statements,
    bindings.store(kernel.value, copy.texts[0]!, copy.texts[1]!, dtype),
    "}",
    `for (var ${source.name} = 0; ${source.name} < ${source.extent}; ${source.name}++) {`,
    ...add.statements,
    `let ${position.name} = ${add.texts[0]};`,
    `if (${position.name} >= 0 && ${position.name} < ${position.extent}) {`,
    `let addend = ${add.texts[1]};`,
    "{",
    ...at.statements,
    `let at = ${at.texts[0]};`,
    bindings.store(kernel.value, "at", `${bindings.load(kernel.value, "at", dtype)} + addend`, dtype),
    "}",
    "}",
    "}",
  ]);
}

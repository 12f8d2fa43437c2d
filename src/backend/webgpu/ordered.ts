import { internal } from "../../base/errors.ts";
import type { Expr } from "../../compile/expr.ts";
import type { ScanKernel, ScatterKernel } from "../../compile/kernel.ts";
import { type Body, digits, perPoint } from "./grid.ts";
import type { Bindings, ShaderOptions } from "./shader.ts";
import { block } from "./sums.ts";
import { printConstant, whole, write } from "./text.ts";

// Kernels whose order is fixed: one invocation works through each lane, so that results never vary.

export function printScan(kernel: ScanKernel, bindings: Bindings, options: ShaderOptions): Body {
  const { lane, position, dtype } = kernel;
  const [{ value, index: place }] = kernel.stores;
  const uses = [kernel.expr, place].map((expr) => ({ expr, at: 1 }));
  const text = write(uses, bindings, { levels: new Map([[position.name, 1]]) });
  const [x, index] = [text.text(kernel.expr), text.text(place)];
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
    ...text.statements(0),
    ...sums.map((sum) => `var ${sum} = ${zero};`),
    `for (var ${position.name} = 0; ${position.name} < ${position.extent}; ${position.name}++) {`,
    ...text.statements(1),
    `${sums[0]} += ${x};`,
    bindings.store(
      value,
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
  const [{ value, index }] = kernel.stores;
  if (dtype === "bool") internal("a scatter of booleans");
  const part = (...exprs: readonly Expr[]) => {
    const text = write(
      exprs.map((expr) => ({ expr, at: 0 })),
      bindings,
    );
    return { texts: exprs.map((expr) => text.text(expr)), statements: text.statements(0) };
  };
  const copy = part(index, kernel.initial);
  const add = part(kernel.target, kernel.addend);
  // The index of the result, with its position replaced by the target.
  const at = part(index);
  return perPoint(lane.extent, options, [
    ...digits([lane], "point"),
    `for (var ${position.name} = 0; ${position.name} < ${position.extent}; ${position.name}++) {`,
    ...copy.statements,
    bindings.store(value, copy.texts[0]!, copy.texts[1]!, dtype),
    "}",
    `for (var ${source.name} = 0; ${source.name} < ${source.extent}; ${source.name}++) {`,
    ...add.statements,
    `let ${position.name} = ${add.texts[0]};`,
    `if (${position.name} >= 0 && ${position.name} < ${position.extent}) {`,
    `let addend = ${add.texts[1]};`,
    "{",
    ...at.statements,
    `let at = ${at.texts[0]};`,
    bindings.store(value, "at", `${whole(bindings.load(value, "at", dtype))} + addend`, dtype),
    "}",
    "}",
    "}",
  ]);
}

import { internal } from "../../base/errors.ts";
import { expansionOf } from "../../compile/expand.ts";
import type { ExpandedRow, TableRow } from "../../graph/node.ts";
import { indent } from "./indent.ts";
import { printConstant, write } from "./text.ts";

const names = ["x", "y", "z"];

const nothing = {
  scalar: () => internal("a host number in an expansion"),
  load: () => internal("a load in an expansion"),
};

/** An operation that is made of others, as a function. Compilers may assume that there is no NaN, so it is passed on first. */
export function printExpansion(row: ExpandedRow): string {
  const expr = expansionOf(row.expand, row.arity);
  const text = write([{ expr, at: 0 }], nothing, { result: (index) => names[index]!, numbers: true });
  const args = names.slice(0, row.arity);
  return `${indent([
    `fn lorantz_${row.name}(${args.map((name) => `${name}: f32`).join(", ")}) -> f32 {`,
    ...args.flatMap((name) => [`if (lorantz_isNaN(${name})) {`, `return ${name};`, "}"]),
    ...text.statements(0),
    `return ${text.text(expr)};`,
    "}",
  ])}\n`;
}

/** A table as its formula, or as choices by the bits of a code, the highest first: an array would lie in memory. */
export function printTable({ name, table, formula }: TableRow): string {
  const head = `fn lorantz_${name}(code: u32) -> f32 {`;
  if (formula) {
    const expr = expansionOf(formula, 1, "uint32");
    const text = write([{ expr, at: 0 }], nothing, { result: () => "code", numbers: true });
    return `${indent([head, ...text.statements(0), `return ${text.text(expr)};`, "}"])}\n`;
  }
  const choice = (from: number, length: number): string => {
    if (length === 1) return printConstant(table[from]!, "float32");
    const half = length / 2;
    return `select(${choice(from, half)}, ${choice(from + half, half)}, (code & ${half}u) != 0u)`;
  };
  return `${indent([head, `return ${choice(0, table.length)};`, "}"])}\n`;
}

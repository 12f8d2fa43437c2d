import { internal } from "../../base/errors.ts";
import { getOrInsert } from "../../base/group.ts";
import { expansionOf } from "../../compile/expand.ts";
import type { ExpandedRow, ScalarRow, TableRow } from "../../graph/node.ts";
import { scalarOps } from "../../graph/scalar.ts";
import { narrowFunctions } from "./dtypes.ts";
import { shaders } from "./shaders.generated.ts";
import { printConstant, write } from "./text.ts";

// Functions that code calls: those of shaders/scalar.wgsl, and those of operations that are made of others, by need.

/** Functions by name: at first those of the file, each with the comment above it. */
const functions = new Map<string, readonly string[]>();
for (const [text, name] of shaders.scalar.matchAll(/(?:^\/\/.*\n)*^fn (\w+)\([\s\S]*?\n\}\n/gm)) {
  functions.set(
    name!,
    text
      .trimEnd()
      .split("\n")
      .map((line) => line.trim()),
  );
}
const filed = [...functions.keys()];

function helper(name: string): readonly string[] {
  return getOrInsert(functions, name, () => {
    const row = scalarOps.get(name.replace("lorantz_", ""))?.row;
    return (
      narrowFunctions.get(name)?.() ??
      (row && printRow(row)) ??
      internal(`there is no function ${name} in WGSL`)
    );
  });
}

/** The helper functions that the code calls, and those that these call: those of the file in its order, then others by name. */
export function helpersOf(code: readonly string[]): string[] {
  const used = new Map<string, readonly string[]>();
  const add = (lines: readonly string[]) => {
    for (const [name] of lines.join("\n").matchAll(/\blorantz_\w+/g)) {
      if (used.has(name)) continue;
      const own = helper(name);
      used.set(name, own);
      add(own);
    }
  };
  add(code);
  const others = [...used.keys()].filter((name) => !filed.includes(name)).sort();
  return [...filed, ...others].flatMap((name) => (used.has(name) ? [...used.get(name)!, ""] : []));
}

function printRow(row: ScalarRow): string[] | undefined {
  return row.expand ? printExpansion(row) : row.table ? printTable(row) : undefined;
}

const nothing = {
  scalar: () => internal("a host number in an expansion"),
  load: () => internal("a load in an expansion"),
};

const args = ["x", "y", "z"];

/** An operation that is made of others. Compilers may assume that there is no NaN, so it is passed on first. */
function printExpansion(row: ExpandedRow): string[] {
  const expr = expansionOf(row.expand, row.arity);
  const text = write([{ expr, at: 0 }], nothing, { result: (index) => args[index]!, numbers: true });
  const own = args.slice(0, row.arity);
  return [
    `fn lorantz_${row.name}(${own.map((name) => `${name}: f32`).join(", ")}) -> f32 {`,
    ...own.flatMap((name) => [`if (lorantz_isNaN(${name})) {`, `return ${name};`, "}"]),
    ...text.statements(0),
    `return ${text.text(expr)};`,
    "}",
  ];
}

/** A table as its formula, or as choices by the bits of a code, the highest first: an array would lie in memory. */
function printTable({ name, table, formula }: TableRow): string[] {
  const head = `fn lorantz_${name}(code: u32) -> f32 {`;
  if (formula) {
    const expr = expansionOf(formula, 1, "uint32");
    const text = write([{ expr, at: 0 }], nothing, { result: () => "code", numbers: true });
    return [head, ...text.statements(0), `return ${text.text(expr)};`, "}"];
  }
  const choice = (from: number, length: number): string => {
    if (length === 1) return printConstant(table[from]!, "float32");
    const half = length / 2;
    return `select(${choice(from, half)}, ${choice(from + half, half)}, (code & ${half}u) != 0u)`;
  };
  return [head, `return ${choice(0, table.length)};`, "}"];
}

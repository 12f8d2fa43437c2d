import { internal } from "../../base/errors.ts";
import { scalarOps } from "../../graph/scalar.ts";
import { printExpansion, printTable } from "./expansions.ts";
import { narrowFunctions } from "./narrow.ts";
import { shaders } from "./shaders.generated.ts";

/** Functions of shaders/scalar.wgsl by name, each with the comment above it; then those of operations, once they are asked for. */
const functions = new Map<string, string>();
for (const [text, name] of shaders.scalar.matchAll(/(?:^\/\/.*\n)*^fn (\w+)\([\s\S]*?\n\}\n/gm)) {
  functions.set(name!, text);
}

function helper(name: string): string {
  let text = functions.get(name);
  if (text === undefined) {
    const row = scalarOps.get(name.replace("lorantz_", ""))?.row;
    text =
      narrowFunctions.get(name)?.() ??
      (row?.expand
        ? printExpansion(row)
        : row?.table
          ? printTable(row)
          : internal(`there is no function ${name} in WGSL`));
    functions.set(name, text);
  }
  return text;
}

/** The helper functions that the code calls, and those that these call: those of the file in its order, then others by name. */
export function helpersOf(code: string): string {
  const used = new Map<string, string>();
  const add = (text: string) => {
    for (const [name] of text.matchAll(/\blorantz_\w+/g)) {
      if (used.has(name)) continue;
      const own = helper(name);
      used.set(name, own);
      add(own);
    }
  };
  add(code);
  const filed = [...shaders.scalar.matchAll(/^fn (\w+)\(/gm)].map(([, name]) => name!);
  const others = [...used.keys()].filter((name) => !filed.includes(name)).sort();
  return [...filed, ...others].flatMap((name) => used.get(name) ?? []).join("\n");
}

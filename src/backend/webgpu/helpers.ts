import { internal } from "../../base/errors.ts";
import { shaders } from "./shaders.generated.ts";

/** Functions of shaders/scalar.wgsl by name, each with the comment above it. */
const functions = new Map<string, string>();
for (const [text, name] of shaders.scalar.matchAll(/(?:^\/\/.*\n)*^fn (\w+)\([\s\S]*?\n\}\n/gm)) {
  functions.set(name!, text);
}

/** The helper functions that the code calls, and those that these call, in the order of the file. */
export function helpersOf(code: string): string {
  const used = new Set<string>();
  const add = (text: string) => {
    for (const [name] of text.matchAll(/\blorantz_\w+/g)) {
      if (used.has(name)) continue;
      used.add(name);
      add(functions.get(name) ?? internal(`shaders/scalar.wgsl has no ${name}`));
    }
  };
  add(code);
  return [...functions].flatMap(([name, text]) => (used.has(name) ? [text] : [])).join("\n");
}

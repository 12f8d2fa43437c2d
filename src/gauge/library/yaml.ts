import { isPlainObject } from "../../base/arguments.ts";
import { messageOf, ValueError } from "../../base/errors.ts";
import { mostLevels } from "../../base/json.ts";
import { library } from "../../base/library.ts";

/** What of `yaml` is used. */
type Yaml = typeof import("yaml");

/**
 * The value of a text in YAML 1.1, which is what PyYAML reads and so what the files of training tools are in: with anchors,
 * aliases and merge keys, yes and no for true and false. 2e-4 is a number, as tools that read such files take care of.
 * Needs the package `yaml`.
 *
 * @throws ValueError for what is no YAML, with the line; for several documents, unknown tags, names given twice, a field
 *   `__proto__`, an alias that holds itself, and values more than 64 deep. LorantzError where the package is missing.
 */
export async function readYaml(what: string, text: string): Promise<unknown> {
  const { parseAllDocuments } = await library<Yaml>(what, "yaml", "a text in YAML", () => import("yaml"));
  const fail = (words: string): never => {
    throw new ValueError(`${what}: ${words}.`);
  };
  let value: unknown;
  try {
    const documents = parseAllDocuments(text, { version: "1.1", stringKeys: true, logLevel: "silent" });
    if (!Array.isArray(documents)) return null; // nothing but comments
    const [document, ...others] = documents;
    if (others.length > 0)
      fail(`it has ${documents.length} documents of YAML, divided by ---; give the one with the settings`);
    const [wrong] = [...document!.errors, ...document!.warnings]; // an unknown tag is a warning
    if (wrong) {
      const line = wrong.linePos?.[0].line ?? 1;
      const [words] = wrong.message.split(/ at line \d+/);
      fail(`line ${line}, "${text.split(/\r?\n/)[line - 1]?.trim()}": it is no YAML (${words})`);
    }
    value = document!.toJS();
  } catch (error) {
    if (error instanceof ValueError) throw error;
    fail(`it is no YAML (${messageOf(error)})`);
  }
  const check = (value: unknown, place: string, level: number): void => {
    if (typeof value !== "object" || value === null) return;
    if (level > mostLevels)
      fail(`${place.split(".")[0]} is nested more than ${mostLevels} deep, or an alias in it holds itself`);
    if (Array.isArray(value)) {
      for (const each of value) check(each, place, level + 1);
      return;
    }
    if (!isPlainObject(value)) return; // a date
    for (const [name, each] of Object.entries(value)) {
      const inner = place ? `${place}.${name}` : name;
      if (name === "__proto__") fail(`${inner} is no name of a field`);
      check(each, inner, level + 1);
    }
  };
  check(value, "", 1);
  return value;
}

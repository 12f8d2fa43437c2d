import { isPlainObject, show } from "../../base/arguments.ts";
import { ValueError } from "../../base/errors.ts";
import { parseJson } from "../../base/json.ts";
import type { Settings } from "./places.ts";
import { readYaml } from "./yaml.ts";

// Settings of other tools as they are written: JSON, YAML, the part of TOML that their files use, flags
// `--learning_rate 2e-4` with or without the command before them, arguments of Python's calls, and key=value.

/** An object without a prototype, so that every name is one like another. */
function empty(): Record<string, unknown> {
  return Object.create(null) as Record<string, unknown>; // fresh
}

/**
 * The settings in a text, in whichever form it is.
 *
 * @throws ValueError for what is none of them, with the line; LorantzError for YAML where its reader is missing.
 */
export async function settingsOf(what: string, text: string): Promise<Settings> {
  // A list in JSON, or the first section of a TOML file.
  if (/^\s*(\{|\[(?!\s*[\w.-]+\s*\]\s*$))/m.test(text.trimStart().split("\n")[0]!))
    return object(what, parseJson(what, text));
  const flags = flagsOf(text);
  if (flags !== undefined) return fromFlags(what, flags);
  if (/^\s*(?:\w+\s*=\s*)?[A-Za-z_][\w.]*\(.*\)\s*$/s.test(text)) return fromCalls(what, text);
  const lines = text.split(/\r?\n/).map((line) => line.replace(/(^|\s)#.*$/, "").trimEnd());
  const there = lines.filter((line) => line.trim() !== "" && line.trim() !== "---");
  if (there.some((line) => /^\s*(-\s+)?(["']?)[\w.-]+\2\s*:(\s|$)/.test(line)))
    return object(what, (await readYaml(what, text)) ?? {});
  if (there.some((line) => /^\s*(\[[\w.-]+\]|[\w.-]+\s+=)/.test(line))) return fromToml(what, lines);
  return fromPairs(what, there.join(" "));
}

function object(what: string, value: unknown): Settings {
  if (isPlainObject(value)) return value;
  throw new ValueError(`${what}: the settings are ${show(value)}; they are an object with settings by name.`);
}

/** The flags of a command line: those of the program, where a launcher with flags of its own starts it. */
function flagsOf(text: string): string | undefined {
  const [, program, flags] = /^\s*(?:[A-Z_][A-Z0-9_]*=\S*\s+)*([^=:#]*?)(--\w.*)$/s.exec(text) ?? [];
  if (flags === undefined || /[^\s\\]$/.test(program!)) return undefined;
  return /\s[\w./-]+\.py\s+(--\w.*)$/s.exec(text)?.[1] ?? flags;
}

/** `LoraConfig(r=16, lora_alpha=32)`, one or several; what is given without a name is no setting. */
function fromCalls(what: string, text: string): Settings {
  const result = empty();
  let [depth, quote, word] = [0, "", ""];
  const end = () => {
    const [, name, value] = /^\s*(\w+)\s*=\s*(.*?)\s*$/s.exec(word) ?? [];
    if (name !== undefined) put(what, result, name, flow(value!));
    else if (/=/.test(word.replaceAll(/"[^"]*"|'[^']*'/g, "")))
      throw new ValueError(`${what}: "${word.trim()}" is not of the form name=value.`);
    word = "";
  };
  for (const character of text.replaceAll(/(^|\s)#.*$/gm, "")) {
    if (quote === "" && depth === 1 && /[,)]/.test(character)) end();
    else if (depth > 0) word += character;
    if (quote !== "") quote = character === quote ? "" : quote;
    else if (/["']/.test(character)) quote = character;
    else if (/[([{]/.test(character)) depth++;
    else if (/[)\]}]/.test(character)) depth--;
  }
  return result;
}

function fromFlags(what: string, text: string): Settings {
  // As a shell takes them apart: quotes hold a word together, and a backslash goes on with the next line.
  const words = [...text.matchAll(/(?:"[^"]*"|'[^']*'|[^\s\\"'])+/g)].map(([word]) =>
    word.replaceAll(/"([^"]*)"|'([^']*)'/g, "$1$2"),
  );
  const result = empty();
  for (let i = 0; i < words.length; i++) {
    const [, name, value] = /^--([\w.-]+)(?:=(.*))?$/s.exec(words[i]!) ?? [];
    if (name === undefined)
      throw new ValueError(`${what}: "${words[i]}" is no flag such as --learning_rate 2e-4.`);
    const values = value === undefined ? [] : [value];
    if (value === undefined)
      while (words[i + 1] !== undefined && !/^--\w/.test(words[i + 1]!)) values.push(words[++i]!);
    put(
      what,
      result,
      name.replaceAll("-", "_"),
      values.length === 0 ? true : values.length === 1 ? scalar(values[0]!) : values,
    );
  }
  return result;
}

function fromPairs(what: string, text: string): Settings {
  const result = empty();
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const at = word.indexOf("=");
    if (at < 1) throw new ValueError(`${what}: "${word}" is not of the form key=value.`);
    put(what, result, word.slice(0, at), scalar(word.slice(at + 1)));
  }
  return result;
}

function fromToml(what: string, lines: readonly string[]): Settings {
  const result = empty();
  let prefix = "";
  for (const [i, line] of lines.entries()) {
    const rest = line.trim();
    if (rest === "") continue;
    const section = /^\[([\w.-]+)\]$/.exec(rest)?.[1];
    if (section !== undefined) {
      // Sections of kohya's files are for readers only.
      prefix = /_arguments$/.test(section) ? "" : `${section}.`;
      continue;
    }
    const [, key, value] = /^([\w.-]+)\s*=\s*(.+)$/.exec(rest) ?? [];
    if (key === undefined)
      throw new ValueError(`${what}: line ${i + 1}, "${rest}": this is not name = value.`);
    put(what, result, prefix + key, flow(value!));
  }
  return result;
}

function put(what: string, into: Record<string, unknown>, path: string, value: unknown): void {
  const [name, ...rest] = path.split(".") as [string, ...string[]];
  if (rest.length === 0) {
    if (Object.hasOwn(into, name)) throw new ValueError(`${what}: ${name} is given twice. Give it once.`);
    into[name] = value;
    return;
  }
  const inner = into[name] ?? empty();
  if (!isPlainObject(inner))
    throw new ValueError(`${what}: ${name} is ${show(inner)}, and ${path} is given as well. Give one.`);
  into[name] = inner;
  put(what, inner as Record<string, unknown>, rest.join("."), value); // made here
}

/** A scalar, or a list or mapping on one line. */
function flow(text: string): unknown {
  const list = /^\[(.*)\]$/s.exec(text)?.[1];
  if (list !== undefined) return parts(list).map(scalar);
  const mapping = /^\{(.*)\}$/s.exec(text)?.[1];
  if (mapping === undefined) return scalar(text);
  const result = empty();
  for (const part of parts(mapping)) {
    const at = part.search(/[:=]/);
    result[
      part
        .slice(0, at)
        .trim()
        .replace(/^["']|["']$/g, "")
    ] = scalar(part.slice(at + 1).trim());
  }
  return result;
}

/** What commas divide, but for those within quotes. */
function parts(text: string): string[] {
  return [...text.matchAll(/(?:"[^"]*"|'[^']*'|[^,"'])+/g)].map(([part]) => part.trim()).filter(Boolean);
}

function scalar(text: string): unknown {
  const quoted = /^(["'])(.*)\1$/s.exec(text);
  if (quoted) return quoted[2];
  if (/^(true|yes|on)$/i.test(text)) return true;
  if (/^(false|no|off)$/i.test(text)) return false;
  if (/^(null|none|~)$/i.test(text) || text === "") return null;
  return /^[-+.\d]/.test(text) && Number.isFinite(Number(text)) ? Number(text) : text;
}

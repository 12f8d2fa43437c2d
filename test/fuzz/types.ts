import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { deviceDTypes, floatDTypes } from "../../src/base/dtype.ts";

// Just enough TypeScript to read what the public functions take from their own declarations: a new one is fuzzed
// because it is declared, not because somebody told the fuzzer.

export type Type =
  | { readonly kind: "literal"; readonly value: string | number | boolean | null | undefined }
  | { readonly kind: "name"; readonly name: string; readonly args: readonly Type[]; readonly file: string }
  | { readonly kind: "union"; readonly of: readonly Type[] }
  | { readonly kind: "array"; readonly of: Type }
  | { readonly kind: "tuple"; readonly of: readonly Type[] }
  | { readonly kind: "object"; readonly fields: readonly Field[]; readonly parents?: readonly Type[] }
  | { readonly kind: "function" }
  | { readonly kind: "other"; readonly text: string };

export interface Field {
  readonly name: string;
  readonly type: Type;
  readonly optional: boolean;
  /** Takes all arguments that are left. */
  readonly rest?: boolean;
  /** The operation that it is an argument of, where that is part of another one. */
  readonly of?: string;
  /** Stands for fields of any names. */
  readonly anyName?: boolean;
}

export interface Signature {
  readonly params: readonly Field[];
  readonly result: Type;
  /** What type parameters are bound by. */
  readonly bounds: ReadonlyMap<string, Type>;
}

const token =
  /\s*(?:\/\/[^\n]*|\/\*[\s\S]*?\*\/|\s)*([A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)*|"[^"]*"|-?\d[\d._e+-]*n?|\.\.\.|=>|[\s\S])/y;

class Reader {
  readonly #text: string;
  readonly #file: string;
  #at: number;

  constructor(text: string, at: number, file: string) {
    this.#text = text;
    this.#at = at;
    this.#file = file;
  }

  peek(): string {
    token.lastIndex = this.#at;
    return token.exec(this.#text)?.[1] ?? "";
  }

  next(): string {
    token.lastIndex = this.#at;
    const found = token.exec(this.#text);
    this.#at = found ? token.lastIndex : this.#text.length;
    return found?.[1] ?? "";
  }

  /** Takes the next token if it is that one. */
  take(text: string): boolean {
    if (this.peek() !== text) return false;
    this.next();
    return true;
  }

  expect(text: string): void {
    const found = this.next();
    if (found !== text) throw new Error(`${this.#file}: expected ${text}, found ${found}`);
  }

  /** Leaves out everything up to one of the tokens at this depth of brackets; gives the first token left out. */
  skip(...ends: readonly string[]): string {
    const first = this.peek();
    for (let depth = 0; ; ) {
      const text = this.peek();
      if (text === "" || (depth === 0 && ends.includes(text))) return first;
      if ("([{".includes(text)) depth++;
      if (")]}".includes(text)) depth--;
      this.next();
    }
  }

  typeParameters(): Map<string, Type> {
    const bounds = new Map<string, Type>();
    if (!this.take("<")) return bounds;
    while (!this.take(">")) {
      const name = this.next();
      if (this.take("extends")) bounds.set(name, this.type());
      if (this.take("=")) this.type();
      this.take(",");
    }
    return bounds;
  }

  signature(): Signature {
    const bounds = this.typeParameters();
    this.expect("(");
    const params: Field[] = [];
    while (!this.take(")")) {
      params.push(this.parameter());
      this.take(",");
    }
    return { params, result: this.take(":") ? this.type() : { kind: "other", text: "" }, bounds };
  }

  parameter(): Field {
    const rest = this.take("...");
    let name = this.peek();
    if (name === "{" || name === "[") {
      this.next();
      this.skip(name === "{" ? "}" : "]");
      this.next();
      name = "options";
    } else this.next();
    let optional = this.take("?");
    let type: Type | undefined = this.take(":") ? this.type() : undefined;
    if (this.take("=")) {
      optional = true;
      const value = this.skip(",", ")");
      type ??= { kind: "name", name: value.startsWith('"') ? "string" : "number", args: [], file: "" };
    }
    return { name, type: type ?? { kind: "other", text: name }, optional, rest };
  }

  type(): Type {
    this.take("|");
    const of = [this.#postfix()];
    while (this.take("|")) of.push(this.#postfix());
    const union: Type = of.length === 1 ? of[0]! : { kind: "union", of };
    if (this.take("extends")) {
      // A conditional type: either branch.
      this.type();
      this.expect("?");
      const yes = this.type();
      this.expect(":");
      return { kind: "union", of: [yes, this.type()] };
    }
    if (this.take("is")) {
      this.type();
      return { kind: "other", text: "a predicate" };
    }
    return union;
  }

  #postfix(): Type {
    let type = this.#single();
    for (;;) {
      if (this.take("[")) {
        if (this.take("]")) type = { kind: "array", of: type };
        else {
          this.skip("]");
          this.next();
          type = { kind: "other", text: "indexed" };
        }
      } else if (this.take("&")) {
        const parts = [type, this.#postfix()].map(resolve);
        type = {
          kind: "object",
          fields: parts.flatMap((part) => (part.kind === "object" ? part.fields : [])),
        };
      } else return type;
    }
  }

  #single(): Type {
    if (this.peek() === "<") this.typeParameters(); // of a function
    const text = this.next();
    if (text === "readonly") return this.#postfix();
    if (text === "keyof") {
      this.take("typeof");
      return { kind: "name", name: `keyof ${this.next()}`, args: [], file: this.#file };
    }
    if (text === "typeof") return { kind: "other", text: this.next() };
    if (text.startsWith('"')) return { kind: "literal", value: text.slice(1, -1) };
    if (/^-?\d/.test(text)) return { kind: "literal", value: Number(text) };
    if (text === "true" || text === "false") return { kind: "literal", value: text === "true" };
    if (text === "null") return { kind: "literal", value: null };
    if (text === "undefined" || text === "void") return { kind: "literal", value: undefined };
    if (text === "[") {
      const of: Type[] = [];
      while (!this.take("]")) {
        const before = this.#at;
        const label = this.next();
        if (!this.take(":")) this.#at = before;
        else if (!/^\w/.test(label)) throw new Error(`${this.#file}: a label ${label}`);
        this.take("...");
        of.push(this.type());
        this.take(",");
      }
      return { kind: "tuple", of };
    }
    if (text === "{") return { kind: "object", fields: this.fields() };
    if (text === "(" || text === "new") {
      const start = this.#at;
      if (text === "(") {
        this.skip(")");
        this.next();
        if (this.take("=>")) {
          this.type();
          return { kind: "function" };
        }
        this.#at = start;
        const inner = this.type();
        this.expect(")");
        return inner;
      }
      return { kind: "other", text };
    }
    if (!/^[\w$]/.test(text)) return { kind: "other", text };
    const args: Type[] = [];
    if (this.take("<")) {
      while (!this.take(">")) {
        args.push(this.type());
        this.take(",");
      }
    }
    return { kind: "name", name: text, args, file: this.#file };
  }

  /** The members of an object type up to its closing brace. */
  fields(): Field[] {
    const fields: Field[] = [];
    while (!this.take("}")) {
      this.take("readonly");
      const callable = this.peek() === "(" || this.peek() === "<";
      const name = callable ? "" : this.next();
      if (name === "[") {
        this.next();
        const anyName = this.peek() === ":"; // else the fields of another type
        this.skip("]");
        this.next();
        this.take("-");
        this.take("?");
        this.expect(":");
        const type = this.type();
        if (anyName) fields.push({ name: "", type, optional: false, anyName });
      } else if (callable || this.peek() === "(" || this.peek() === "<") {
        this.signature();
        fields.push({ name, type: { kind: "function" }, optional: false });
      } else {
        const optional = this.take("?");
        this.expect(":");
        fields.push({ name, type: this.type(), optional });
      }
      if (!this.take(";")) this.take(",");
    }
    return fields;
  }
}

const texts = new Map<string, string>();

export function textOf(file: string): string {
  let text = texts.get(file);
  if (text === undefined) {
    text = readFileSync(file, "utf8");
    texts.set(file, text);
  }
  return text;
}

/** Every public name of a module, with the file and the name that declare it; `export * as x` gives a namespace. */
export function exportsOf(
  file: string,
): Map<string, { readonly file: string; readonly name: string | null }> {
  const text = textOf(file);
  const found = new Map<string, { readonly file: string; readonly name: string | null }>();
  const path = (from: string) => join(dirname(file), from);
  for (const [, namespace, from] of text.matchAll(/^export \* as (\w+) from "([^"]+)"/gm))
    found.set(namespace!, { file: path(from!), name: null });
  for (const [, from] of text.matchAll(/^export \* from "([^"]+)"/gm))
    for (const [name, place] of exportsOf(path(from!))) found.set(name, place);
  for (const [, list, from] of text.matchAll(/^export (?:type )?\{([^}]*)\}(?: from "([^"]+)")?/gm)) {
    for (const entry of list!.split(",")) {
      const [own, other] = entry
        .trim()
        .replace(/^type /, "")
        .split(" as ");
      if (!own) continue;
      const place = from ? exportsOf(path(from)).get(own) : { file, name: own };
      if (place) found.set(other ?? own, place);
    }
  }
  for (const [, name] of text.matchAll(/^export (?:async )?(?:function|class|interface|type|const) (\w+)/gm))
    found.set(name!, { file, name: name! });
  return found;
}

/** The signatures of a function, or of a method of a class, as they are declared. */
export function signaturesOf(file: string, name: string, owner?: string): Signature[] {
  const text = textOf(file);
  const from = owner === undefined ? 0 : text.search(new RegExp(`^export class ${owner}\\b`, "m"));
  const pattern =
    owner === undefined
      ? new RegExp(`^export function ${name}(?=[<(])`, "gm")
      : new RegExp(`^  (?:async )?${name}(?=[<(])`, "gm");
  const found: Signature[] = [];
  for (const match of text.slice(from).matchAll(pattern))
    found.push(new Reader(text, from + match.index + match[0].length, file).signature());
  // An overloaded function is called by its overloads; the last declaration is that of the implementation.
  return found.length > 1 ? found.slice(0, -1) : found;
}

const declarations = new Map<string, Type | undefined>();

/** What a name of a type stands for where it is used, undefined for what is not declared in the sources. */
function declarationOf(name: string, file: string): Type | undefined {
  const key = `${name} in ${file}`;
  if (!declarations.has(key)) declarations.set(key, findDeclaration(name, file));
  return declarations.get(key);
}

/** Types that are made of the rows of a table, which is not read. */
const rows: Readonly<Record<string, readonly string[]>> = {
  DType: [...deviceDTypes, "number"],
  DeviceDType: deviceDTypes,
  FloatDType: floatDTypes,
};

function findDeclaration(name: string, file: string): Type | undefined {
  if (Object.hasOwn(rows, name))
    return { kind: "union", of: rows[name]!.map((value) => ({ kind: "literal", value })) };
  if (!file || !existsSync(file)) return undefined;
  const text = textOf(file);
  if (name.startsWith("keyof ")) {
    const table = new RegExp(`^(?:export )?const ${name.slice(6)} = \\{\\n(.*?)^\\}`, "ms").exec(text)?.[1];
    if (table !== undefined) {
      const keys = [...table.matchAll(/^ {2}(\w+):/gm)].map(([, key]) => key!);
      return { kind: "union", of: keys.map((value) => ({ kind: "literal", value })) };
    }
  } else if (!name.includes(".")) {
    const alias = new RegExp(`^(?:export )?type ${name}(?=[<\\s=])`, "m").exec(text);
    if (alias) {
      const reader = new Reader(text, alias.index + alias[0].length, file);
      reader.typeParameters();
      reader.expect("=");
      return reader.type();
    }
    const shape = new RegExp(`^(?:export )?interface ${name}(?=[<\\s])`, "m").exec(text);
    if (shape) {
      const reader = new Reader(text, shape.index + shape[0].length, file);
      reader.typeParameters();
      const parents: Type[] = [];
      if (reader.take("extends"))
        do parents.push(reader.type());
        while (reader.take(","));
      reader.expect("{");
      const own = reader.fields();
      const inherited = parents.flatMap((parent) => {
        const known = parent.kind === "name" ? resolve(parent) : parent;
        return known?.kind === "object" ? known.fields : [];
      });
      const names = new Set(own.map((field) => field.name));
      return {
        kind: "object",
        fields: [...inherited.filter((field) => !names.has(field.name)), ...own],
        parents,
      };
    }
  }
  for (const [, list, from] of text.matchAll(/^(?:import|export) (?:type )?\{([^}]*)\} from "(\.[^"]+)"/gm)) {
    for (const entry of list!.split(",")) {
      const [own, other] = entry
        .trim()
        .replace(/^type /, "")
        .split(" as ");
      const declared = name.startsWith("keyof ") ? name.slice(6) : name;
      if ((other ?? own) === declared)
        return declarationOf(name.replace(declared, own!), join(dirname(file), from!));
    }
  }
  return undefined;
}

/** Follows names until there is something else, or a name that the sources do not declare as a type. */
export function resolve(type: Type): Type {
  let at = type;
  for (let depth = 0; at.kind === "name" && depth < 8; depth++) {
    const found = at.name === "Partial" ? partial(at) : declarationOf(at.name, at.file);
    if (!found) return at;
    at = found;
  }
  return at;
}

function partial({ args: [of] }: Extract<Type, { kind: "name" }>): Type | undefined {
  const found = of && resolve(of);
  return found?.kind === "object"
    ? { ...found, fields: found.fields.map((field) => ({ ...field, optional: true })) }
    : undefined;
}

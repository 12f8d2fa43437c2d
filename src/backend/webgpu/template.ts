import { internal } from "../../base/errors.ts";

/** A WGSL file whose holes are filled: constants by name, functions by name. */
export class Template {
  #text: string;

  constructor(text: string) {
    // The header and the default bindings give way to the kernel's own, and directives go before all else.
    this.#text = text
      .replace(/^(\/\/.*\n)+\n/, "")
      .replace(/^enable .*\n/gm, "")
      .replace(/^@group.*\n/gm, "");
  }

  constant(name: string, value: number | boolean): this {
    return this.#replace(new RegExp(`^(const ${name}: \\w+ = )[^;]+;`, "m"), (head) => `${head}${value};`);
  }

  /** Another body; `parameters` renames those of the signature. */
  body(name: string, lines: readonly string[], parameters: (name: string) => string = (same) => same): this {
    const signature = (head: string) => head.replace(/\b(\w+)(?=: )/g, parameters);
    return this.#replace(
      new RegExp(`^(fn ${name}\\(.*\\{\\n)[\\s\\S]*?\\n\\}`, "m"),
      (head) => `${signature(head)}${lines.join("\n")}\n}`,
    );
  }

  /** Without a function that nothing calls any more. */
  drop(name: string): this {
    return this.#replace(
      new RegExp(`^(?://.*\\n)*fn ${name}\\(.*\\{\\n[\\s\\S]*?\\n\\}\\n\\n`, "m"),
      () => "",
    );
  }

  get lines(): string[] {
    return this.#text
      .replace(/\n{3,}/g, "\n\n")
      .trim()
      .split("\n")
      .map((line) => line.trim());
  }

  #replace(pattern: RegExp, by: (head: string) => string): this {
    if (!pattern.test(this.#text)) internal(`the template has no ${pattern}`);
    this.#text = this.#text.replace(pattern, (_, head: string) => by(head));
    return this;
  }
}

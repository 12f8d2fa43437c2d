import { internal } from "../../base/errors.ts";

/** WGSL whose holes are filled: constants, aliases and functions by name. What nothing uses is left out. */
export class Template {
  #text: string;

  /** @param files Texts that stand after each other. */
  constructor(...files: readonly string[]) {
    // Headers and default bindings give way to the kernel's own, and directives go before all else.
    this.#text = files
      .map((text) =>
        text
          .replace(/^(\/\/.*\n)+\n/, "")
          .replace(/^enable .*\n/gm, "")
          .replace(/^@group.*\n/gm, ""),
      )
      .join("\n");
  }

  constant(name: string, value: number | boolean): this {
    return this.#replace(new RegExp(`^(const ${name}: \\w+ = )[^;]+;`, "m"), (head) => `${head}${value};`);
  }

  alias(name: string, type: string): this {
    return this.#replace(new RegExp(`^(alias ${name} = )[^;]+;`, "m"), (head) => `${head}${type};`);
  }

  /** Another body; `parameters` renames those of the signature. */
  body(name: string, lines: readonly string[], parameters: (name: string) => string = (same) => same): this {
    const signature = (head: string) => head.replace(/\b(\w+)(?=: )/g, parameters);
    return this.#replace(
      new RegExp(`^(fn ${name}\\(.*\\{\\n)[\\s\\S]*?\\n\\}`, "m"),
      (head) => `${signature(head)}${lines.join("\n")}\n}`,
    );
  }

  get lines(): string[] {
    return used(this.#text)
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

/** A function or a constant with the comment above it. */
const declaration = /^(?:\/\/.*\n)*(?:fn (\w+)\(.*\{\n[\s\S]*?\n\}\n|const (\w+): .*\n)/gm;

/** The text without functions and constants that nothing uses. */
function used(text: string): string {
  const code = text.replace(/\/\/.*/g, "");
  const shorter = text.replace(declaration, (whole, fn?: string, constant?: string) => {
    const mentions = code.match(new RegExp(`\\b${fn ?? constant}\\b`, "g"))!;
    return fn === "main" || mentions.length > 1 ? whole : "";
  });
  return shorter === text ? text : used(shorter);
}

import { show } from "./arguments.ts";
import { messageOf, ValueError } from "./errors.ts";

/** Arrays and objects inside each other: no file of ours has more, and code that follows them is recursive. */
export const mostLevels = 64;

/**
 * The value of a JSON text from anywhere.
 *
 * @throws ValueError beginning with `where` for what is no JSON; for arrays and objects more than 64 deep, a field
 *   `__proto__` or twice of one name, and numbers that float64 does not have, which JSON allows and nobody expects.
 */
export function parseJson(where: string, text: string): unknown {
  const fail = (what: string): never => {
    throw new ValueError(`${where}: ${what}.`);
  };
  const { levels, twice } = scan(text);
  if (levels > mostLevels)
    fail(`arrays and objects are nested more than ${mostLevels} deep; expected a flat file`);
  if (twice !== undefined) fail(`an object has the field ${show(twice)} twice; expected it once`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    fail(`it is no JSON (${messageOf(error)})`);
  }
  const check = (value: unknown, place: string): void => {
    if (typeof value === "number" && !Number.isFinite(value))
      fail(`${place || "the value"} is a number beyond ${Number.MAX_VALUE}; expected one that float64 has`);
    if (typeof value !== "object" || value === null) return;
    if (Array.isArray(value)) {
      for (const [i, each] of value.entries()) check(each, `${place}[${i}]`);
      return;
    }
    for (const [name, each] of Object.entries(value)) {
      const inner = place ? `${place}.${name}` : name;
      if (name === "__proto__") fail(`${inner} is no name of a field`);
      check(each, inner);
    }
  };
  // Numbers of large arrays need no place of their own unless one of them is wrong.
  if (/__proto__|\\u|[eE]\+?\d{3}|\d{300}/.test(text)) check(value, "");
  return value;
}

/** How deep arrays and objects are nested, and a field that one object has twice, whether or not the text is JSON. */
function scan(text: string): { readonly levels: number; readonly twice?: string } {
  // Names of the objects around the place; those of an array are undefined.
  const open: (Set<string> | undefined)[] = [];
  let levels = 0;
  let last = "";
  for (let at = 0; at < text.length; at++) {
    const unit = text[at];
    if (unit === '"') {
      const start = at++;
      while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
      last = text.slice(start, at + 1);
    } else if (unit === "{" || unit === "[") {
      open.push(unit === "{" ? new Set() : undefined);
      levels = Math.max(levels, open.length);
      if (levels > mostLevels) return { levels };
    } else if (unit === "}" || unit === "]") open.pop();
    else if (unit === ":") {
      const names = open.at(-1);
      const name = last.includes("\\") ? unescaped(last) : last.slice(1, -1);
      if (names?.has(name)) return { levels, twice: name };
      names?.add(name);
    }
  }
  return { levels };
}

function unescaped(text: string): string {
  try {
    return String(JSON.parse(text));
  } catch {
    return text; // the parser will say what is wrong
  }
}

import { ValueError } from "./errors.ts";

/** Arrays and objects inside each other: no file of ours has more, and code that follows them is recursive. */
const mostLevels = 64;

/**
 * The value of a JSON text from anywhere.
 *
 * @throws ValueError beginning with `where` for what is no JSON; for arrays and objects more than 64 deep, a field
 *   `__proto__`, and numbers that float64 does not have, which JSON allows and nobody expects.
 */
export function parseJson(where: string, text: string): unknown {
  const fail = (what: string): never => {
    throw new ValueError(`${where}: ${what}.`);
  };
  if (levelsOf(text) > mostLevels)
    fail(`arrays and objects are nested more than ${mostLevels} deep; expected a flat file`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    fail(`it is no JSON (${error instanceof Error ? error.message : String(error)})`);
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

/** How deep arrays and objects are nested, whether or not the text is JSON. */
function levelsOf(text: string): number {
  let [levels, most] = [0, 0];
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"?|[[\]{}]/gs)) {
    if (token === "[" || token === "{") most = Math.max(most, ++levels);
    else if (token === "]" || token === "}") levels--;
  }
  return most;
}

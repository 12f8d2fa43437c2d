import { isPlainObject } from "../../base/arguments.ts";
import { ValueError } from "../../base/errors.ts";

// Settings by their places: `lora_parameters.rank` is rank in the object lora_parameters, `optim_args:momentum` the
// pair of that name in a text `momentum=0.9,nesterov=True`, a list of such texts, or an object.

export type Settings = { readonly [name: string]: unknown };

/** Settings as a tool's file has them, from values by their places. */
export function nest(
  values: ReadonlyMap<string, unknown>,
  pairs: { readonly [place: string]: "text" | "list" },
): Settings {
  const result: Record<string, unknown> = {};
  const texts = new Map<string, string[]>();
  for (const [place, value] of values) {
    const [outer, pair] = place.split(":") as [string, string?];
    if (pair === undefined) {
      put(result, outer.split("."), value);
      continue;
    }
    const own = texts.get(outer) ?? [];
    texts.set(outer, own);
    own.push(`${pair}=${written(value)}`);
  }
  for (const [place, own] of texts)
    put(result, place.split("."), pairs[place] === "list" ? own : own.join(","));
  return result;
}

/**
 * Values by their places. Objects are walked to the depth that known places have, and pairs are taken apart.
 *
 * @throws ValueError for a place that has two values: `{ "optimizer.lr": 1, "optimizer": { "lr": 2 } }`.
 */
export function flatten(
  settings: Settings,
  pairs: { readonly [place: string]: "text" | "list" },
): Map<string, unknown> {
  const result = new Map<string, unknown>();
  const set = (place: string, value: unknown): void => {
    if (result.has(place)) throw new ValueError(`${place} is given twice. Give it once.`);
    result.set(place, value);
  };
  const walk = (value: unknown, path: string): void => {
    if (pairs[path] !== undefined && isPlainObject(value)) {
      for (const [name, each] of Object.entries(value)) set(`${path}:${name}`, each);
    } else if (pairs[path] !== undefined && value !== null && value !== "") {
      const texts = Array.isArray(value)
        ? value
        : pairs[path] === "list"
          ? [value]
          : String(value).split(",");
      for (const text of texts) {
        const [name, ...rest] = String(text).split("=");
        set(`${path}:${name?.trim()}`, parsed(rest.join("=").trim()));
      }
    } else if (isPlainObject(value)) {
      for (const name of Object.keys(value)) walk(value[name], path === "" ? name : `${path}.${name}`);
    } else {
      set(path, value);
    }
  };
  walk(settings, "");
  return result;
}

function put(into: Record<string, unknown>, [name, ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    into[name!] = value;
    return;
  }
  const inner = (into[name!] ?? {}) as Record<string, unknown>; // made by the line below
  into[name!] = inner;
  put(inner, rest, value);
}

/** Python's way of writing. */
function written(value: unknown): string {
  if (typeof value === "boolean") return value ? "True" : "False";
  return Array.isArray(value) ? value.map(written).join(",") : String(value);
}

function parsed(text: string): unknown {
  if (/^true$/i.test(text)) return true;
  if (/^false$/i.test(text)) return false;
  const inner = text.replace(/^[([]|[)\]]$/g, "");
  if (inner.includes(",")) return inner.split(",").filter(Boolean).map(parsed);
  const number = Number(inner);
  return inner !== "" && Number.isFinite(number) ? number : text;
}

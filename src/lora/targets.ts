import { ValueError } from "../base/errors.ts";
import { isFound, matcher } from "../base/pattern.ts";
import type { Layer } from "../nn/layer.ts";
import { isLinear } from "../nn/linear.ts";
import type { Adaptable } from "./adapter.ts";
import { paths } from "./walk.ts";

/**
 * Which layers get an adapter: names that match a path equal to it or ending in "." + it, regular expressions
 * tested on the path, or "all-linear" for every linear layer (the output layer too, which PEFT leaves out).
 * Names and expressions reach embeddings as well.
 */
export type Targets = "all-linear" | readonly (string | RegExp)[];

/** Whether adapters can be added to a layer. */
export function isAdaptable(layer: Layer): layer is Adaptable {
  return isLinear(layer) || layer.kind === "embedding";
}

/** The paths of the layers that targets name. */
export function targetPaths(model: Layer, targets: Targets): readonly string[] {
  if (targets !== "all-linear" && (!Array.isArray(targets) || targets.length === 0)) {
    throw new ValueError(
      `lora.inject: targetModules is ${JSON.stringify(targets)}; it is "all-linear" or a list of names and regular expressions.`,
    );
  }
  const all = paths(model);
  const there = all.filter(([, layer]) => isAdaptable(layer)).map(([path]) => path);
  const linears = all.filter(([, layer]) => isLinear(layer)).map(([path]) => path);
  const chosen =
    targets === "all-linear"
      ? linears
      : targets.flatMap((target: string | RegExp) => {
          const found = there.filter((path) => matchesTarget(target, path));
          if (found.length > 0) return found;
          const other =
            typeof target === "string" ? all.find(([path]) => matchesTarget(target, path)) : undefined;
          const problem = other
            ? `names a ${other[1].kind} layer, not a linear one or an embedding`
            : "matches no layer";
          const embeddings = there.filter((path) => !linears.includes(path));
          throw new ValueError(
            `lora.inject: target ${String(target)} ${problem}. Linear layers are: ${listed(linears)}.${embeddings.length > 0 ? ` Embeddings are: ${listed(embeddings)}.` : ""}`,
          );
        });
  if (chosen.length === 0)
    throw new ValueError("lora.inject: the model has no linear layer; there is nothing to adapt.");
  return [...new Set(chosen)];
}

function matchesTarget(target: string | RegExp, path: string): boolean {
  return typeof target === "string" ? path === target || path.endsWith(`.${target}`) : isFound(target, path);
}

/** Values for some of the layers, by patterns. */
export type Pattern = { readonly [pattern: string]: number };

/**
 * The value for each path: that of the first key that matches it as the regular expression `(.*\.)?(key)$`, as in
 * PEFT, and `otherwise` where none does. Whatever the key is, matching takes bounded time (`base/pattern.ts`).
 *
 * @param field Its name, for messages.
 * @throws ValueError for a key that is no regular expression, has back references or more than 1000 characters, or
 *   matches none of the paths.
 */
export function patternValues(
  field: string,
  pattern: Pattern,
  pathsThere: readonly string[],
  otherwise: number,
): ReadonlyMap<string, number> {
  const keys = Object.keys(pattern).map((key) => ({ key, matches: matcherOf(field, key) }));
  for (const { key, matches } of keys) {
    if (!pathsThere.some(matches))
      throw new ValueError(
        `${field}: the key ${key} matches none of the adapted layers: ${listed(pathsThere)}. It is matched as (.*\\.)?(key)$ on a path.`,
      );
  }
  return new Map(
    pathsThere.map((path) => {
      const match = keys.find(({ matches }) => matches(path));
      return [path, match ? pattern[match.key]! : otherwise];
    }),
  );
}

function matcherOf(field: string, key: string): (path: string) => boolean {
  try {
    return matcher(`^(.*\\.)?(${key})$`);
  } catch (error) {
    if (error instanceof ValueError) throw new ValueError(`${field}: the key ${key}: ${error.message}`);
    throw new ValueError(
      `${field}: the key ${key} is not a regular expression. Escape what is not meant as one.`,
    );
  }
}

function listed(found: readonly string[]): string {
  return found.map((path) => path || "(the model itself)").join(", ") || "none";
}

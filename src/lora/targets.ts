import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { isFound, matcher } from "../base/pattern.ts";
import type { AnyLayer } from "../nn/layer.ts";
import { isLinear } from "../nn/linear.ts";
import { isAdaptable } from "./hosts.ts";
import { paths } from "./walk.ts";

/**
 * Which layers get an adapter: names that match a path equal to it or ending in "." + it, regular expressions
 * tested on the path, or "all-linear" for every linear layer but the one that a model names as its output, as in PEFT.
 * Names and expressions reach embeddings and the output as well.
 */
export type Targets = "all-linear" | readonly (string | RegExp)[];

/** Which layers get an adapter, with PEFT's names and meanings. */
export interface Chosen {
  readonly targetModules: Targets;
  /** Of those, the ones that get none: names and regular expressions, likewise. */
  readonly excludeModules?: readonly (string | RegExp)[];
  /** Only in blocks of these numbers: the last number between two dots of a path, with two names before it. */
  readonly layersToTransform?: number | readonly number[];
  /** Names of the lists of blocks that the numbers count in, such as "layers" or "h". By default that of every list. */
  readonly layersPattern?: string | readonly string[];
}

/** The paths of the layers that a configuration chooses. */
export function targetPaths(model: AnyLayer, config: Chosen): readonly string[] {
  const { targetModules: targets, excludeModules = [], layersToTransform, layersPattern } = config;
  if (!isTargets(excludeModules))
    throw new ValueError(
      `lora.inject: excludeModules is ${show(excludeModules)}; it is a list of names and regular expressions.`,
    );
  const named = namedPaths(model, targets).filter(
    (path) => !excludeModules.some((target: string | RegExp) => matchesTarget(target, path)),
  );
  if (named.length === 0)
    throw new ValueError(
      `lora.inject: excludeModules leaves none of the targets ${Array.isArray(targets) ? targets.join(", ") : targets}. Exclude fewer.`,
    );
  if (layersToTransform === undefined) {
    if (layersPattern !== undefined)
      throw new ValueError(
        "lora.inject: layersPattern says where layersToTransform counts, and that is missing. Give both.",
      );
    return named;
  }
  const numbers = typeof layersToTransform === "number" ? [layersToTransform] : layersToTransform;
  if (!Array.isArray(numbers) || !numbers.every((number) => Number.isInteger(number) && number >= 0))
    throw new ValueError(
      `lora.inject: layersToTransform is ${show(layersToTransform)}; it is the number of a block, from 0, or a list of them.`,
    );
  const lists = layersPattern === undefined ? [] : [layersPattern].flat();
  if (!lists.every((list) => typeof list === "string"))
    throw new ValueError(
      `lora.inject: layersPattern is ${show(layersPattern)}; it is the name of a list of blocks, such as "layers", or several.`,
    );
  const chosen = named.filter((path) => numbers.includes(blockOf(path, lists)));
  if (chosen.length === 0)
    throw new ValueError(
      `lora.inject: layersToTransform ${numbers.join(", ")} matches none of the targets: ${listed(named)}.`,
    );
  return chosen;
}

/** The number of the block that a path is in, or undefined: the last one behind a list, and not at the start. */
function blockOf(path: string, lists: readonly string[]): number | undefined {
  const names = path.split(".");
  for (let at = names.length - 2; at >= 2; at--) {
    if (!/^\d+$/.test(names[at]!)) continue;
    if (lists.length === 0 || lists.includes(names[at - 1]!)) return Number(names[at]);
  }
  return undefined;
}

function namedPaths(model: AnyLayer, targets: Targets): readonly string[] {
  if (targets !== "all-linear" && (!isTargets(targets) || targets.length === 0)) {
    throw new ValueError(
      `lora.inject: targetModules is ${show(targets)}; it is "all-linear" or a list of names and regular expressions.`,
    );
  }
  const all = paths(model);
  const there = all.filter(([, layer]) => isAdaptable(layer)).map(([path]) => path);
  const linears = all.filter(([, layer]) => isLinear(layer)).map(([path]) => path);
  const outputs = all.flatMap(([path, { output }]) =>
    output === undefined ? [] : [path ? `${path}.${output}` : output],
  );
  const chosen =
    targets === "all-linear"
      ? linears.filter((path) => !outputs.includes(path))
      : targets.flatMap((target: string | RegExp) => {
          const found = there.filter((path) => matchesTarget(target, path));
          if (found.length > 0) return found;
          const other =
            typeof target === "string" ? all.find(([path]) => matchesTarget(target, path)) : undefined;
          const problem = other
            ? `names a ${other[1].kind} layer, not a linear one, a convolution or an embedding`
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

const isTargets = (value: unknown): value is readonly (string | RegExp)[] =>
  Array.isArray(value) && value.every((target) => typeof target === "string" || target instanceof RegExp);

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

/** Names in a message that all of them would make too long. */
const mostListed = 24;

function listed(found: readonly string[]): string {
  if (found.length > mostListed) {
    const last = [...new Set(found.map((path) => path.slice(path.lastIndexOf(".") + 1)))];
    const more = last.length > mostListed ? ", ..." : "";
    return `${found.length}, such as ${found[0]}, whose names end in ${last.slice(0, mostListed).join(", ")}${more}`;
  }
  return found.map((path) => path || "(the model itself)").join(", ") || "none";
}

import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { isPacked, unpack } from "../tensor/packed.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { AnyLayer, Params } from "./layer.ts";

/** The tensor of that name among a layer's parameters; one in packed storage is unpacked where it is used. */
export function parameter(layer: string, params: Params, name: string): Tensor {
  checkParams(layer, params);
  const found = params[name];
  if (found instanceof Tensor) return found;
  if (isPacked(found)) return unpack(found);
  const names = Object.keys(params).join(", ") || "nothing";
  throw new ValueError(
    `${layer}: the parameters have no tensor ${name}, but ${names}. Pass what this layer's init returned.`,
  );
}

/** The parameters of a child of that name. */
export function childParams(layer: string, params: Params, name: string): Params {
  checkParams(layer, params);
  const found = params[name] ?? {};
  if (!(found instanceof Tensor)) return found;
  throw new ValueError(
    `${layer}: the parameters have a tensor at ${name}, where the layer has a child. Pass what this layer's init returned.`,
  );
}

/** The parameters with those filled in that are others of the layer. */
export function withTied({ tied = {} }: Pick<AnyLayer, "tied">, params: Params): Params {
  return Object.entries(tied).reduce((all, [to, from]) => {
    const found = partAt(all, from);
    return partAt(all, to) !== undefined || found === undefined ? all : withPart(all, to, found);
  }, params);
}

/** The parameters without those that are the very others of the layer; without all that may be with `every`. */
export function withoutTied({ tied = {} }: Pick<AnyLayer, "tied">, params: Params, every = false): Params {
  return Object.entries(tied).reduce(
    (all, [to, from]) =>
      every || partAt(all, to) === partAt(all, from) ? withPart(all, to, undefined) : all,
    params,
  );
}

type Part = Params[string];

function partAt(params: Params, path: string): Part {
  return path
    .split(".")
    .reduce<Part>(
      (part, name) => (part === undefined || part instanceof Tensor ? undefined : part[name]),
      params,
    );
}

/** A copy in which another part, or none, lies at a path. */
function withPart(params: Params, path: string, part: Part): Params {
  const [name, ...rest] = path.split(".") as [string, ...string[]];
  if (rest.length > 0) {
    const inner = params[name];
    const own = inner === undefined || inner instanceof Tensor ? {} : inner;
    return { ...params, [name]: withPart(own, rest.join("."), part) };
  }
  const { [name]: _, ...others } = params;
  return part === undefined ? others : { ...others, [name]: part };
}

/** @throws ValueError for what are no parameters. */
export function checkParams(layer: string, params: Params): void {
  if (isPlainObject(params)) return;
  throw new ValueError(
    `${layer}: the parameters are ${show(params)}; pass what this layer's init returned, and then the input.`,
  );
}

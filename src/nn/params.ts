import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { isPacked, unpack } from "../tensor/packed.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { Params } from "./layer.ts";

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

function checkParams(layer: string, params: Params): void {
  if (isPlainObject(params)) return;
  throw new ValueError(
    `${layer}: the parameters are ${show(params)}; pass what this layer's init returned, and then the input.`,
  );
}

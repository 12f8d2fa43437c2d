import { bytesPerElement } from "../base/dtype.ts";
import { numel, type Shape } from "../base/shape.ts";
import { type Column, table } from "../base/table.ts";
import { flopsOf } from "../graph/flops.ts";
import { runName } from "../graph/loop.ts";
import { type Node, topological } from "../graph/node.ts";
import { isPacked } from "../tensor/packed.ts";
import { Tensor } from "../tensor/tensor.ts";
import { entries, leaves } from "../tensor/tree.ts";
import { checkLayer } from "./check.ts";
import type { AnyLayer, Layer, Params, ParamsLike } from "./layer.ts";
import { checkParams, childParams, withTied } from "./params.ts";

/** One layer of a model, with all that is in it. */
export interface LayerSummary {
  /** The names on the way to it, joined by dots; that of the model is "". */
  readonly path: string;
  readonly kind: string;
  /** The shapes of its own tensors by their names, without those of its children; of packed ones that of the weight. */
  readonly tensors: { readonly [name: string]: Shape };
  /** The shape of what it gave at last, where that is a tensor. */
  readonly output?: Shape;
  /** Elements of its parameters, those of its children too. */
  readonly parameters: number;
  /** What its parameters take on a device. */
  readonly bytes: number;
  /**
   * Operations on floats of the forward pass: one for each arithmetic operation and each addend, two for each multiply-add, more
   * for functions such as exp. 0 without an input.
   */
  readonly flops: number;
}

export interface ModelSummary extends Omit<LayerSummary, "path" | "tensors" | "output" | "kind"> {
  /** The model first, then its layers in order, each before its children. */
  readonly layers: readonly LayerSummary[];
  /** The same as a table. */
  readonly text: string;
}

/**
 * What a model is made of: path, kind, shapes, parameters, bytes, and the operations of each layer on an input. Nothing is
 * computed: only the shapes of parameters and input matter, `zeros` of them do. Parameters that two layers share are counted
 * in each of them, and once in the model.
 *
 * @param x What the model takes, for the shapes of outputs and the operations; without it there are none.
 * @throws ValueError for what is no layer, and for parameters of another model.
 * @example
 * const model = mlp([64, 32, 10]);
 * const { parameters, flops, text } = summary(model, model.init(random.key(0)), zeros([8, 64]));
 */
export function summary<P extends ParamsLike<P>, X>(
  model: Layer<Params, X, unknown>,
  params: P | Params,
  x?: X,
): ModelSummary {
  checkLayer("summary", "the model", model);
  checkParams("summary", params as Params);
  const all = params as Params; // just checked
  const watched = x === undefined ? [] : watch(model, all, x);
  const layers = layersOf(model, all, "").map(({ path, layer, own }): LayerSummary => {
    const inside = (name: string) => path === "" || name === path || name.startsWith(`${path}.`);
    const output = watched.findLast((one) => one.path === path)?.output;
    return {
      path,
      kind: layer.kind,
      tensors: shapesOf(layer, own),
      ...(output && { output }),
      ...sizeOf(own),
      flops: watched.reduce((sum, one) => (inside(one.path) ? sum + one.flops : sum), 0),
    };
  });
  const { parameters, bytes, flops } = layers[0]!;
  return { parameters, bytes, flops, layers, text: textOf(layers) };
}

interface Watched {
  readonly path: string;
  readonly output: Shape | undefined;
  readonly flops: number;
}

/** What layers gave, in the order in which they were done, with the operations since the one before. */
function watch<X>(model: Layer<Params, X, unknown>, params: Params, x: X): Watched[] {
  const counted = new Set<Node>();
  const runs = new Set<string>();
  const isFirst = (node: Node) => {
    if (node.operation.kind !== "loop") return true;
    const name = runName(node);
    return !runs.has(name) && Boolean(runs.add(name));
  };
  const found: Watched[] = [];
  const done = (path: string, value: unknown) => {
    const own = topological(
      leaves(value).map(({ node }) => node),
      (node) => !counted.has(node),
    ).filter((node) => !counted.has(node));
    for (const node of own) counted.add(node);
    const flops = own.filter(isFirst).reduce((sum, node) => sum + flopsOf(node), 0);
    found.push({ path, output: value instanceof Tensor ? value.shape : undefined, flops });
  };
  // What the model starts with was not done by a layer.
  for (const node of topological(leaves([params, x]).map(({ node }) => node))) counted.add(node);
  done("", model.apply(params, x, { watch: done }));
  return found;
}

interface Placed {
  readonly path: string;
  readonly layer: AnyLayer;
  readonly own: Params;
}

function layersOf(layer: AnyLayer, params: Params, path: string): Placed[] {
  const own = withTied(layer, params);
  const children = Object.entries(layer.children ?? {}).filter(([, { kind }]) => kind !== "parameter"); // a tensor of the layer
  return [
    { path, layer, own },
    ...children.flatMap(([name, child]) =>
      layersOf(child, childParams("summary", own, name), path ? `${path}.${name}` : name),
    ),
  ];
}

function shapesOf({ children = {} }: AnyLayer, own: Params): { readonly [name: string]: Shape } {
  const shapes: [string, Shape][] = Object.entries(own).flatMap(([name, part]): [string, Shape][] => {
    if (part === undefined || (Object.hasOwn(children, name) && children[name]!.kind !== "parameter"))
      return [];
    if (isPacked(part)) return [[name, part.like.shape.slice(1)]];
    if (part instanceof Tensor) return [[name, part.shape]];
    return entries(part).map(([inner, { shape }]) => [`${name}.${inner}`, shape]);
  });
  return Object.fromEntries(shapes);
}

/** Elements and bytes of a tree of parameters, a tensor that stands twice counted once. */
function sizeOf(params: Params): Pick<LayerSummary, "parameters" | "bytes"> {
  const stored = new Set(leaves(params));
  const weights = new Map<Tensor, number>();
  const visit = (part: Params[string]): void => {
    if (part === undefined) return;
    if (part instanceof Tensor) weights.set(part, part.size);
    else if (isPacked(part)) weights.set(part.like, numel(part.like.shape.slice(1)));
    else for (const inner of Object.values(part)) visit(inner);
  };
  visit(params);
  const sum = (numbers: Iterable<number>) => [...numbers].reduce((total, number) => total + number, 0);
  return {
    parameters: sum(weights.values()),
    bytes: sum([...stored].map(({ size, dtype }) => size * bytesPerElement(dtype))),
  };
}

function textOf(layers: readonly LayerSummary[]): string {
  const list = (shape: Shape) => `[${shape.join(",")}]`;
  const column = (title: string, cell: (layer: LayerSummary) => string, align?: "right"): Column => ({
    title,
    cells: layers.map(cell),
    ...(align && { align }),
  });
  const number = (n: number) => n.toLocaleString("en-US", { maximumFractionDigits: 0 });
  return table([
    column("layer", ({ path }) => path || "the model"),
    column("kind", ({ kind }) => kind),
    column("own tensors", ({ tensors }) =>
      Object.entries(tensors)
        .map(([name, shape]) => `${name} ${list(shape)}`)
        .join(" "),
    ),
    column("output", ({ output }) => (output ? list(output) : "")),
    column("parameters", ({ parameters }) => number(parameters), "right"),
    column("bytes", ({ bytes }) => number(bytes), "right"),
    column("FLOPs", ({ flops }) => number(flops), "right"),
  ]);
}

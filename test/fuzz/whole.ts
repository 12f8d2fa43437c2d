import { ValueError } from "../../src/base/errors.ts";
import { random, Tensor, tree } from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import type * as nn from "../../src/nn/index.ts";
import type * as optim from "../../src/optim/index.ts";
import { decoders, runDecoder, type Sizes, sizesType } from "./decoders.ts";
import { admits } from "./draw.ts";
import type { Operation } from "./surface.ts";
import { type Field, resolve, type Signature, type Type } from "./types.ts";

// Layers, adapters, optimizers and schedules take several calls: what makes one, its parameters or its state, and then
// the work. Each maker is one operation here, which does all of these calls on tensors that are drawn.

/**
 * Makers of which the arguments are layers by name, adapters by name, and rules, none of what can be drawn; and layers that
 * take and give more than a tensor, or a tensor that is drawn a few times in 20,000 tries; and what takes a function.
 */
const excluded: readonly string[] = [
  "nn.module",
  "nn.batchNorm",
  "nn.conv2d",
  "nn.conv3d",
  "nn.convTranspose2d",
  "nn.gru",
  "nn.lstm",
  "nn.multiHeadAttention",
  "lora.convolution",
  "lora.injectNamed",
  "lora.perSample",
  "lora.setAdapter",
  "optim.hutchinson",
  "optim.make",
  "optim.makeOptimizer",
  "optim.makePairOptimizer",
];

/** A public function and how it is declared. */
export interface Public {
  readonly name: string;
  readonly value: (...args: readonly unknown[]) => unknown;
  readonly signatures: readonly Signature[];
}

const named = (name: string, ...args: Type[]): Type => ({ kind: "name", name, args, file: "" });
const tensorType = named("Tensor");
const field = (name: string, type: Type): Field => ({ name, type, optional: false });
const x = field("x", tensorType);
const key = field("key", named("Key"));
/** Is added to all parameters, so that none is zero and the gradient reaches each. */
const by = field("by", named("Tensor", { kind: "literal", value: "float32" }));

const has = (type: Type, ...functions: readonly string[]): boolean => {
  const found = resolve(type);
  return (
    found.kind === "object" &&
    functions.every((name) => found.fields.some((own) => own.name === name && own.type.kind === "function"))
  );
};
const isLayer = (type: Type) => has(type, "init", "apply");
const isOptimizer = (type: Type) => has(type, "init", "update", "hyper");
const isSchedule = (type: Type) => type.kind === "name" && type.name === "Schedule";
const isTree = ({ bounds }: Signature, type: Type) =>
  type.kind === "name" && /^[A-Z]$/.test(type.name) && !bounds.has(type.name);

/** A maker whose arguments can be drawn: layers and optimizers among them are made too, of what must be given. */
interface Maker extends Public {
  readonly params: readonly Field[];
  readonly make: (args: readonly unknown[]) => unknown;
}

function makerOf(found: readonly Public[], maker: Public): Maker | undefined {
  const [signature] = maker.signatures;
  if (!signature || signature.params.some(({ type, rest }) => rest || type.kind === "function"))
    return undefined;
  const parts = signature.params.map((param) => {
    if (isTree(signature, param.type)) return undefined;
    if (!isLayer(param.type) && !isOptimizer(param.type))
      return { params: [{ ...param, type: plain(param.type) }] };
    const inner = found.find(({ name }) => name === usual(param.type));
    const made = inner && makerOf(found, inner);
    // After an argument that is left out there is none.
    return made && { params: made.params.filter(({ optional }) => !optional), make: made.make };
  });
  if (parts.some((part) => !part)) return undefined;
  const known = parts as NonNullable<(typeof parts)[number]>[];
  return {
    ...maker,
    params: known.flatMap(({ params }) => params),
    make: (args) => {
      const rest = [...args];
      const own = known.flatMap(({ params, make }) => {
        const taken = rest.splice(0, params.length);
        return make ? [make(taken)] : taken;
      });
      return maker.value(...own);
    },
  };
}

/** The maker of a layer or an optimizer that another one takes. */
function usual(type: Type): string {
  const name = type.kind === "name" ? type.name : "";
  return { Linear: "nn.linear", Embedding: "nn.embedding", Optimizer: "optim.adamw" }[name] ?? "nn.mlp";
}

/** The options of an optimizer are the numbers of its rule: only the rate has to be given. */
function plain(type: Type): Type {
  if (type.kind !== "name" || type.name !== "OptimizerOptions") return type;
  const hyper = resolve(type.args[0]!);
  if (hyper.kind !== "object") return type;
  return {
    kind: "object",
    fields: hyper.fields.map((own) => ({ ...own, optional: own.name !== "lr" })),
  };
}

/** What is drawn for an operation of the fuzzer itself; another value is refused, as public functions do. */
function drawnAsDeclared(drawn: readonly Field[], args: readonly unknown[]): readonly Tensor[] {
  for (const [i, { name, type }] of drawn.entries()) {
    const given = args[i];
    const fits =
      type === key.type
        ? given instanceof random.key(0).constructor
        : type === sizesType
          ? admits(type, given, new Map())
          : given instanceof Tensor;
    if (!fits) throw new ValueError(`the fuzzer draws ${name} as it is`);
  }
  return args.slice(0, drawn.length) as readonly Tensor[];
}

function operation(maker: Maker, drawn: readonly Field[], run: Run): Operation {
  const { name, params, make, signatures } = maker;
  const call = (_: unknown, args: readonly unknown[]) => {
    const given = drawnAsDeclared(drawn, args);
    return tree.leaves(run(make(args.slice(drawn.length)), given));
  };
  const result: Type = { kind: "array", of: tensorType };
  const { bounds } = signatures[0]!;
  return { name, method: false, signatures: [{ params: [...drawn, ...params], result, bounds }], call };
}

type Run = (made: unknown, drawn: readonly Tensor[]) => unknown;

function runLayer(made: unknown, [on, from, moving]: readonly Tensor[]): unknown {
  const layer = made as nn.Layer<nn.Params> & { readonly base?: nn.Layer<nn.Params> };
  const own = from as unknown as random.Key; // as it was drawn
  const params = tree.map(layer.init(own), (p) => p.add(moving!.sum().astype(p.dtype as "float32")));
  const context = { training: true, key: own };
  const y = layer.apply(params, on!, context);
  return layer.base ? [y, layer.base.apply(lora.merge(layer as lora.Adapted, params), on!)] : y;
}

/** Two updates: the second one sees what the first one kept. */
function runOptimizer(made: unknown, params: unknown, gradients: unknown): unknown {
  const optimizer = made as optim.Optimizer;
  const [first, kept] = optimizer.update(gradients, optimizer.init(params), params);
  const moved = tree.zip([params, first] as [unknown, unknown], ([p, u]) =>
    p!.add(u!.astype(p!.dtype as "float32")),
  );
  return optimizer.update(
    tree.map(gradients, (g) => g.mul(-0.5)),
    kept,
    moved,
  );
}

/** A decoder is made of a configuration, which is no type that could be read. */
function decoderOf(family: string): Operation {
  const tokens = field("tokens", named("Tensor", { kind: "literal", value: "int32" }));
  const params = [tokens, key, by, field("sizes", sizesType)];
  const call = (_: unknown, args: readonly unknown[]) => {
    const [given, own, moving, sizes] = drawnAsDeclared(params, args) as readonly unknown[];
    return runDecoder(family, sizes as Sizes, given as Tensor, own as random.Key, moving as Tensor);
  };
  const result: Type = { kind: "array", of: tensorType };
  return {
    name: `models.${family}`,
    method: false,
    signatures: [{ params, result, bounds: new Map() }],
    call,
  };
}

/** Operations of what layers, adapters, optimizers and schedules do, and of functions of trees. */
export function wholes(found: readonly Public[]): Operation[] {
  return [...found.flatMap((one) => wholeOf(found, one)), ...decoders.map(decoderOf)];
}

function wholeOf(found: readonly Public[], one: Public): Operation[] {
  const [signature] = one.signatures;
  if (!signature || excluded.includes(one.name)) return [];
  const { result, params } = signature;
  const maker = makerOf(found, one);
  if (maker && isLayer(result)) return [operation(maker, [x, key, by], runLayer)];
  if (maker && isOptimizer(result)) {
    if (/[sS]caled[A-Z]|loraRite|loraMuon/.test(one.name))
      return [
        operation(maker, [field("loraB", tensorType), field("loraA", tensorType)], (made, [loraB, loraA]) =>
          runOptimizer(made, { loraA, loraB }, { loraA: loraA!.sin(), loraB: loraB!.cos() }),
        ),
      ];
    return [
      operation(maker, [x, field("gradient", tensorType)], (made, [w, g]) =>
        runOptimizer(made, { w }, { w: g }),
      ),
    ];
  }
  if (maker && isSchedule(result))
    return [
      operation(
        maker,
        [field("step", named("Tensor", { kind: "literal", value: "number" }))],
        (made, [step]) => (made as optim.Schedule)(step as Tensor<"number">),
      ),
    ];
  if (params.some(({ type }) => isTree(signature, type))) {
    const list: Type = { kind: "array", of: tensorType };
    const own = params.map((param) => (isTree(signature, param.type) ? { ...param, type: list } : param));
    const call = (_: unknown, args: readonly unknown[]) => tree.leaves(one.value(...args));
    return [
      { name: one.name, method: false, signatures: [{ ...signature, params: own, result: list }], call },
    ];
  }
  return [];
}

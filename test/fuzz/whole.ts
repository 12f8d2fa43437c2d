import { ValueError } from "../../src/base/errors.ts";
import { random, Tensor, tree } from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import type * as nn from "../../src/nn/index.ts";
import type * as optim from "../../src/optim/index.ts";
import { isPlain } from "./case.ts";
import { decoders, runDecoder, type Sizes, sizesType } from "./decoders.ts";
import { admits, canBeDrawn } from "./draw.ts";
import type { Operation } from "./surface.ts";
import { type Field, resolve, type Signature, type Type } from "./types.ts";

// Layers, adapters, optimizers and schedules take several calls: what makes one, its parameters or its state, and then
// the work. Each maker is one operation here, which does all of these calls on tensors that are drawn.

/** A public function and how it is declared. */
export interface Public {
  readonly name: string;
  readonly value: (...args: readonly unknown[]) => unknown;
  readonly signatures: readonly Signature[];
}

const named = (name: string, ...args: Type[]): Type => ({ kind: "name", name, args, file: "" });
const tensorType = named("Tensor");
const field = (name: string, type: Type): Field => ({ name, type, optional: false });
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
/** The types of which one is meant. */
const choicesOf = (type: Type): readonly Type[] => {
  const found = resolve(type);
  return found.kind === "union" ? found.of : [type];
};
const isLayer = (type: Type) => choicesOf(type).every((one) => has(one, "init", "apply"));
const isOptimizer = (type: Type) => has(type, "init", "update", "hyper");
const isSchedule = (type: Type) => type.kind === "name" && type.name === "Schedule";
/** Whether it is a parameter of a generic type, by its name. */
const isParameter = (type: Type) => type.kind === "name" && /^[A-Z]$/.test(type.name);
const isTree = ({ bounds }: Signature, type: Type) =>
  type.kind === "name" && isParameter(type) && !bounds.has(type.name);

/** A maker whose arguments can be drawn: layers and optimizers among them are made too, of what must be given. */
interface Maker extends Public {
  /** What makes the layer inside, if one is: it decides what is taken. */
  readonly inner: string;
  readonly params: readonly Field[];
  readonly make: (args: readonly unknown[]) => unknown;
}

/** A part of the arguments: one that is drawn, or one that is made of several. */
interface Part {
  readonly made?: Maker;
  readonly params: readonly Field[];
}

/** A maker with each choice of makers of what it takes; none if something that it takes cannot be drawn. */
function makersOf(found: readonly Public[], maker: Public): Maker[] {
  const [signature] = maker.signatures;
  if (!signature) return [];
  const choices = signature.params.reduce<readonly (readonly Part[])[]>(
    (before, param) =>
      before.flatMap((parts) => partsFor(found, maker, param).map((part) => [...parts, part])),
    [[]],
  );
  return choices.map((parts) => {
    const inside = parts.flatMap(({ made }) => made ?? []);
    return {
      ...maker,
      name: choices.length > 1 ? [maker, ...inside].map(({ name }) => name).join(" of ") : maker.name,
      inner: inside[0]?.inner ?? maker.name,
      params: parts.flatMap(({ params }) => params),
      make: (args) => {
        const rest = [...args];
        const own = parts.flatMap(({ params, made }) => {
          const taken = rest.splice(0, params.length);
          return made ? [made.make(taken)] : taken;
        });
        return maker.value(...own);
      },
    };
  });
}

function partsFor(found: readonly Public[], { name: of, signatures }: Public, param: Field): Part[] {
  const [signature] = signatures as readonly [Signature]; // it has one
  if (isTree(signature, param.type) || param.rest) return [];
  if (!isLayer(param.type) && !isOptimizer(param.type)) {
    const type = plain(param.type);
    return canBeDrawn(type, signature.bounds) ? [{ params: [{ of, ...param, type }] }] : [];
  }
  return choicesOf(param.type).flatMap((type) =>
    makersFor(found, type).flatMap((inner) =>
      // After an argument that is left out there is none.
      makersOf(found, inner).map((made) => ({
        made,
        params: made.params.filter(({ optional }) => !optional),
      })),
    ),
  );
}

/** Of many layers and optimizers that are one to who takes them, this one. */
const usual: Readonly<Record<string, string>> = { Layer: "nn.mlp", Optimizer: "optim.adamw" };

/** What makes a layer or an optimizer that another one takes: all that give that type, and do not take it. */
function makersFor(found: readonly Public[], type: Type): readonly Public[] {
  const wanted = nameOf(type);
  const gives = ({ params, result }: Signature) =>
    nameOf(result) === wanted && params.every((param) => nameOf(param.type) !== wanted);
  return found.filter(({ name, signatures: [signature] }) =>
    wanted in usual ? name === usual[wanted] : signature && gives(signature),
  );
}

/** The name of a type, with the text that tells it from its relatives. */
const nameOf = (type: Type): string => {
  if (type.kind !== "name") return "";
  const [first] = type.args;
  return first?.kind === "literal" ? `${type.name} ${first.value}` : type.name;
};

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

/** What is drawn for an operation of the fuzzer itself; another value is refused, as public functions do; a layer's input by it. */
function drawnAsDeclared(drawn: readonly Field[], args: readonly unknown[]): readonly Tensor[] {
  for (const [i, { name, type }] of drawn.entries()) {
    const given = args[i];
    const fits =
      type === key.type
        ? given instanceof random.key(0).constructor
        : type === sizesType
          ? admits(type, given, new Map())
          : name === input || given instanceof Tensor;
    if (!fits) throw new ValueError(`the fuzzer draws ${name} as it is`);
  }
  return args.slice(0, drawn.length) as readonly Tensor[];
}

function operation(maker: Maker, drawn: readonly Field[], run: Run): Operation {
  const { name, inner, params, make, signatures } = maker;
  const call = (_: unknown, args: readonly unknown[]) => {
    const given = drawnAsDeclared(drawn, args);
    return tree.leaves(run(make(args.slice(drawn.length)), given));
  };
  const result: Type = { kind: "array", of: tensorType };
  const { bounds } = signatures[0]!;
  const own = drawn.map((one) => ({ ...one, of: inner }));
  return { name, method: false, signatures: [{ params: [...own, ...params], result, bounds }], call };
}

type Run = (made: unknown, drawn: readonly Tensor[]) => unknown;

const input = "x";

/** What a layer takes: a tensor, or an object of what else it needs. */
function inputOf(layer: Type): Field {
  const found = resolve(layer);
  const relatives = [layer, ...((found.kind === "object" && found.parents) || [])];
  const [declared] = relatives.flatMap((one) =>
    one.kind === "name" && one.name === "Layer" ? (one.args[1] ?? []) : [],
  );
  // A layer of any input takes a tensor.
  return field(input, !declared || isParameter(declared) ? tensorType : declared);
}

/** In training, and then with what was kept for the next call; of adapters, through what they are merged to as well. */
function runLayer(made: unknown, [on, from, moving]: readonly unknown[]): unknown {
  const layer = made as nn.Layer<nn.Params, unknown, unknown> &
    Partial<Pick<lora.Adapted, "base" | "active">>;
  const own = from as random.Key; // as it was drawn
  const by = (moving as Tensor).sum(); // likewise
  const params = tree.map(layer.init(own), (p) => p.add(by.astype(p.dtype as "float32")));
  const y = layer.apply(params, on, { training: true, key: own });
  if (layer.base && Array.isArray(layer.active))
    return [y, layer.base.apply(lora.merge(layer as unknown as lora.Adapted, params), on as Tensor)];
  if (!isPlain(y) || !isPlain(on)) return y;
  const kept = Object.entries(y).filter(([name]) => name !== "y");
  return [y, layer.apply(params, { ...on, ...Object.fromEntries(kept) })];
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
  if (!signature) return [];
  const { result, params } = signature;
  if (isLayer(result))
    return makersOf(found, one).map((maker) => operation(maker, [inputOf(result), key, by], runLayer));
  if (isOptimizer(result)) {
    const ofPairs = /[sS]caled[A-Z]|loraRite|loraMuon/.test(one.name);
    return makersOf(found, one).map((maker) =>
      ofPairs
        ? operation(maker, [field("loraB", tensorType), field("loraA", tensorType)], (made, [loraB, loraA]) =>
            runOptimizer(made, { loraA, loraB }, { loraA: loraA!.sin(), loraB: loraB!.cos() }),
          )
        : operation(maker, [field("w", tensorType), field("gradient", tensorType)], (made, [w, g]) =>
            runOptimizer(made, { w }, { w: g }),
          ),
    );
  }
  if (isSchedule(result))
    return makersOf(found, one).map((maker) =>
      operation(
        maker,
        [field("step", named("Tensor", { kind: "literal", value: "number" }))],
        (made, [step]) => (made as optim.Schedule)(step as Tensor<"number">),
      ),
    );
  const isTaken = ({ type, optional }: Field) =>
    optional || isTree(signature, type) || canBeDrawn(type, signature.bounds);
  if (params.some(({ type }) => isTree(signature, type)) && params.every(isTaken)) {
    const list: Type = { kind: "array", of: tensorType };
    const own = params.map((param) => (isTree(signature, param.type) ? { ...param, type: list } : param));
    const call = (_: unknown, args: readonly unknown[]) => tree.leaves(one.value(...args));
    return [
      { name: one.name, method: false, signatures: [{ ...signature, params: own, result: list }], call },
    ];
  }
  return [];
}

import { fileURLToPath } from "node:url";
import * as functional from "../../src/functional/index.ts";
import * as lorantz from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import { exportsOf, resolve, type Signature, signaturesOf, type Type } from "./types.ts";
import { type Public, wholes } from "./whole.ts";

/** One public operation: what makes tensors of tensors, numbers and shapes. */
export interface Operation {
  /** As it is written: `x.add` for a method, `nn.functional.linear` for a function. */
  readonly name: string;
  readonly method: boolean;
  readonly call: (receiver: unknown, args: readonly unknown[]) => unknown;
  readonly signatures: readonly Signature[];
  /** Of a method of what another method picks: that method, which takes the first argument. */
  readonly picks?: string;
}

/** What only rearranges what it is given, or tells what that is; and what no drawn lengths and classes fit. */
const excluded: readonly string[] = ["tree", "summary", "ctcLoss"];

const source = (path: string) => fileURLToPath(new URL(`../../src/${path}`, import.meta.url));

/** Does a type speak of what operations make? */
function makes(type: Type, bounds: Signature["bounds"], depth = 0): boolean {
  if (depth > 4) return false;
  switch (type.kind) {
    case "name":
      if (type.name === "Promise") return false;
      if (/^(?:\w+\.)?(?:Tensor|Key)$/.test(type.name)) return true;
      return makes(bounds.get(type.name) ?? resolve(type), bounds, depth + 1);
    case "union":
    case "tuple":
      return type.of.some((part) => makes(part, bounds, depth + 1));
    case "array":
      return makes(type.of, bounds, depth + 1);
    case "object":
      // An object with functions is a thing of its own, such as a layer.
      return (
        type.fields.every((field) => field.type.kind !== "function") &&
        type.fields.some((field) => makes(field.type, bounds, depth + 1))
      );
    default:
      return false;
  }
}

const isOperation = ({ params, result, bounds }: Signature) =>
  makes(result, bounds) && params.every(({ type }) => type.kind !== "function");

function methodsOf(owner: { readonly prototype: object }, name: string, file: string): Operation[] {
  const shown = name === "Tensor" ? "x" : "key";
  return Object.getOwnPropertyNames(owner.prototype).flatMap((method) => {
    const signatures = signaturesOf(file, method, name).filter(isOperation);
    if (signatures.length === 0) return [];
    const call = (receiver: unknown, args: readonly unknown[]) =>
      (receiver as Record<string, (...args: readonly unknown[]) => unknown>)[method]!(...args);
    return [{ name: `${shown}.${method}`, method: true, signatures, call }];
  });
}

/** `x.at(...index).set(value)` and the like, as one operation of x. */
function pickedOf(): Operation[] {
  const [at] = signaturesOf(source("tensor/tensor.ts"), "at", "Tensor");
  const name = (type: string, ...args: Type[]): Type => ({
    kind: "name",
    name: type,
    args,
    file: source("tensor/tensor.ts"),
  });
  const starts = (["int32", "number"] as const).map((value) => name("Tensor", { kind: "literal", value }));
  const bounds = new Map<string, Type>([
    ["O", name("Operand", name("D"))],
    ["S", { kind: "union", of: starts }],
  ]);
  const call =
    (method: string) =>
    (receiver: unknown, [index, ...args]: readonly unknown[]) => {
      // What is no list is an index that is none; null alone would be a new axis.
      const list = (Array.isArray(index) ? index : [index ?? {}]) as lorantz.Index[];
      const picked = (receiver as lorantz.Tensor).at(...list);
      return (picked as unknown as Record<string, (...args: readonly unknown[]) => unknown>)[method]!(
        ...args,
      );
    };
  return ["get", "set", "add", "mul", "min", "max"].map((method) => {
    const [own] = signaturesOf(source("tensor/at.ts"), method, "At");
    const signature = { params: [...at!.params, ...own!.params], result: name("Tensor"), bounds };
    return { name: `x.at.${method}`, method: true, picks: "at", signatures: [signature], call: call(method) };
  });
}

function functionsOf(module: object, prefix: string, file: string): Public[] {
  const declared = exportsOf(file);
  return Object.entries(module).flatMap(([name, value]: [string, unknown]): Public[] => {
    const place = declared.get(name);
    if (!place || excluded.includes(name)) return [];
    const shown = `${prefix}${name}`;
    if (place.name === null) return functionsOf(value as object, `${shown}.`, place.file); // a namespace
    if (typeof value !== "function" || value.prototype instanceof Error) return [];
    return [
      { name: shown, value: value as Public["value"], signatures: signaturesOf(place.file, place.name) },
    ];
  });
}

function operationOf({ name, value, signatures }: Public): Operation[] {
  const fitting = signatures.filter(isOperation);
  if (fitting.length === 0) return [];
  return [{ name, method: false, signatures: fitting, call: (_, args) => value(...args) }];
}

/**
 * Every public operation of `lorantz`, `lorantz/nn` and `lorantz/functional`, found by what is exported and how it is declared, and what takes
 * several calls: layers, adapters of `lorantz/lora`, and optimizers, schedules and clipping of `lorantz/optim`.
 */
export function operations(): Operation[] {
  const ofLayers = functionsOf(nn, "nn.", source("nn/index.ts"));
  return [
    ...methodsOf(lorantz.Tensor, "Tensor", source("tensor/tensor.ts")),
    ...pickedOf(),
    ...methodsOf(lorantz.random.key(0).constructor as typeof lorantz.Tensor, "Key", source("tensor/key.ts")),
    ...[
      ...functionsOf(lorantz, "", source("index.ts")),
      ...ofLayers,
      ...functionsOf(functional, "functional.", source("functional/index.ts")),
    ].flatMap(operationOf),
    ...wholes([
      ...ofLayers,
      ...functionsOf(lora, "lora.", source("lora/index.ts")),
      ...functionsOf(optim, "optim.", source("optim/index.ts")),
    ]),
  ];
}

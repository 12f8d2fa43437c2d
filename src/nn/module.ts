import { checkArgument, functionOf, isPlainObject, readOptions, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import type { Key } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aKey, checkTensor, contextFields } from "./check.ts";
import type { Context, Layer, Params, ParamsOf } from "./layer.ts";
import { childParams } from "./params.ts";

/** The children as functions: each with its parameters, and with a random stream of its own. */
export type Bound<C> = { readonly [K in keyof C]: (x: Tensor) => Tensor };

type Forward<C> = (children: Bound<C>, x: Tensor, context: Context) => Tensor;

/**
 * A layer made of named others. `forward` gets the children as functions, the input and the context.
 *
 * A child's initial values depend on the key and the names on the way to it alone: adding a layer leaves those
 * of the others unchanged. The same goes for dropout, whose stream is of the child's name, and for each further
 * call of one child in one forward pass of its own.
 *
 * @throws ValueError for a name that is empty or has a dot in it; dots join names to paths.
 * @example
 * const block = module(
 *   { fc1: linear(64, 128), fc2: linear(128, 10) },
 *   ({ fc1, fc2 }, x) => fc2(gelu(fc1(x))),
 * );
 * const params = block.init(random.key(0)); // { fc1: { weight, bias }, fc2: { weight, bias } }
 */
export function module<C extends { readonly [name: string]: Layer }>(
  children: C,
  forward: Forward<C>,
): Layer<ParamsOf<C>> {
  const names = checkChildren(children);
  checkArgument("module", "forward", forward, functionOf("a function (children, x, context) => tensor"));
  for (const name of names) {
    if (name === "" || name.includes("."))
      throw new ValueError(
        `module: the child's name ${JSON.stringify(name)} is empty or has a dot in it; dots join names to paths.`,
      );
  }
  return {
    kind: "module",
    children,
    init: (key) => {
      checkArgument("module", "the key", key, aKey);
      const own = mapChildren(children, (child, name) => child.init(key.fold(name)));
      return own as ParamsOf<C>; // each child's, by its name
    },
    apply: (params, x, given = {}) => {
      const context = readOptions("module", contextFields, given);
      checkTensor("module", "the input", x);
      const bound = mapChildren(children, (child, name) => {
        const own = childParams("module", params as Params, name);
        let calls = 0;
        return (input: Tensor) => child.apply(own, input, streamOf(context, name, calls++));
      });
      return forward(bound, x, context);
    },
    withChildren: (replacements) => {
      for (const name of Object.keys(replacements)) {
        if (!Object.hasOwn(children, name))
          throw new ValueError(
            `module: there is no child ${name} to replace. The children are ${Object.keys(children).join(", ")}.`,
          );
      }
      const replaced: { readonly [name: string]: Layer } = { ...children, ...replacements };
      return module(replaced, forward as unknown as Forward<typeof replaced>) as Layer; // of the same names
    },
  };
}

/**
 * Named layers one after the other.
 *
 * @example
 * const net = sequential({ up: linear(8, 32), act: activation("gelu"), down: linear(32, 4) });
 */
export function sequential<C extends { readonly [name: string]: Layer }>(children: C): Layer<ParamsOf<C>> {
  return module(children, (layers, x) => Object.values(layers).reduce((y, layer) => layer(y), x));
}

/** The names of children, if they are layers. */
function checkChildren(children: { readonly [name: string]: Layer }): string[] {
  if (!isPlainObject(children))
    throw new ValueError(
      `module: the children are ${show(children)}; they are named layers in an object, { up: linear(8, 32), down: linear(32, 4) }.`,
    );
  for (const [name, child] of Object.entries(children)) {
    if (typeof child?.apply === "function" && typeof child.init === "function") continue;
    throw new ValueError(`module: the child ${name} is ${show(child)}; it is a layer such as linear(8, 32).`);
  }
  return Object.keys(children);
}

function streamOf({ training, key }: Context, name: string, call: number): Context {
  const own: Key | undefined = call === 0 ? key?.fold(name) : key?.fold(name).fold(call);
  return { ...(training === undefined ? {} : { training }), ...(own === undefined ? {} : { key: own }) };
}

function mapChildren<C extends { readonly [name: string]: Layer }, R>(
  children: C,
  f: (child: Layer, name: string) => R,
): { readonly [K in keyof C]: R } {
  const mapped = Object.entries(children).map(([name, child]) => [name, f(child, name)] as const);
  return Object.fromEntries(mapped) as { readonly [K in keyof C]: R }; // one entry for each key of C
}

import {
  checkArgument,
  type Fields,
  field,
  functionOf,
  isPlainObject,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import type { Key } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aKey, checkLayer, checkTensor, contextFields } from "./check.ts";
import type { AnyLayer, Context, Layer, Params, ParamsOf } from "./layer.ts";
import { childParams, parameter, withoutTied, withTied } from "./params.ts";

type Children = { readonly [name: string]: AnyLayer };

/** The children as functions: each with its parameters, and with a random stream of its own. */
export type ChildFunctions<C> = { readonly [K in keyof C]: ChildFunction<C[K]> };

type ChildFunction<L> = L extends { apply(params: never, x: infer X, context?: Context): infer Y }
  ? (x: X) => Y
  : L extends undefined
    ? undefined
    : never;

/** What a module does with its children. */
export type Forward<C, X, Y> = (children: ChildFunctions<C>, x: X, context: Context) => Y;

/** Facts about a module beside its children. */
export type ModuleOptions = Pick<AnyLayer, "tied" | "output">;

const fields: Fields<ModuleOptions> = {
  tied: optional(field("an object of paths by path", isPlainObject)),
  output: optional(field("the path of a child", (value) => typeof value === "string")),
};

/**
 * A layer made of named others. `forward` gets the children as functions, the input and the context. The input is a
 * tensor, or an object or list with what else the layer needs: a mask, positions, a cache.
 *
 * A child's initial values depend on the key and the names on the way to it alone: adding a layer leaves those
 * of the others unchanged. The same goes for dropout, whose stream is of the child's name, and for each further
 * call of one child in one forward pass of its own.
 *
 * @throws ValueError for a name that is empty or has a dot in it; dots join names to paths.
 * @example
 * const block = module(
 *   { fc1: linear(64, 128), fc2: linear(128, 10) },
 *   ({ fc1, fc2 }, x: Tensor) => fc2(gelu(fc1(x))),
 * );
 * const params = block.init(random.key(0)); // { fc1: { weight, bias }, fc2: { weight, bias } }
 */
export function module<C extends Children, X = Tensor, Y = Tensor>(
  children: C,
  forward: Forward<C, X, Y>,
  options: ModuleOptions = {},
): Layer<ParamsOf<C>, X, Y> {
  const names = checkChildren(children);
  checkArgument("module", "forward", forward, functionOf("a function (children, x, context) => tensor"));
  const facts = readOptions("module", fields, options);
  for (const name of names) {
    if (name === "" || name.includes("."))
      throw new ValueError(
        `module: the child's name ${JSON.stringify(name)} is empty or has a dot in it; dots join names to paths.`,
      );
  }
  const self: Layer<ParamsOf<C>, X, Y> = {
    kind: "module",
    children,
    ...facts,
    init: (key) => {
      checkArgument("module", "the key", key, aKey);
      const own = mapChildren(children, (child, name) => child.init(key.fold(name)));
      // Each child's, by its name.
      return withoutTied(facts, own as Params, true) as ParamsOf<C>;
    },
    apply: (params, x, given = {}) => {
      const context = readOptions("module", contextFields, given);
      if (!isPlainObject(x) && !Array.isArray(x)) checkTensor("module", "the input", x as Tensor); // or data with tensors in it
      const all = facts.tied && isPlainObject(params) ? withTied(self, params as Params) : params;
      const bound = mapChildren(children, (child, name) => {
        const bare = child.kind === "parameter";
        const own = (bare ? parameter : childParams)("module", all as Params, name) as Params; // or that of a parameter
        let calls = 0;
        return (input: unknown) => {
          const y = child.apply(own, input as never, streamOf(context, name, calls++)); // `ChildFunctions` has its type
          context.watch?.(name, y);
          return y;
        };
      });
      return forward(bound as ChildFunctions<C>, x, context);
    },
    withChildren: (replacements) => {
      for (const name of Object.keys(replacements)) {
        if (!Object.hasOwn(children, name))
          throw new ValueError(
            `module: there is no child ${name} to replace. The children are ${Object.keys(children).join(", ")}.`,
          );
      }
      const replaced: Children = { ...children, ...replacements };
      // Of the same names, and each takes and gives what the one before it did.
      return module(replaced, forward as unknown as Forward<Children, X, Y>, facts) as Layer<Params, X, Y>;
    },
  };
  return self;
}

/**
 * Named layers one after the other.
 *
 * @example
 * const net = sequential({ up: linear(8, 32), act: activation("gelu"), down: linear(32, 4) });
 */
export function sequential<C extends { readonly [name: string]: Layer }>(children: C): Layer<ParamsOf<C>> {
  return module(children, (layers, x: Tensor) =>
    Object.values(layers as { readonly [name: string]: (x: Tensor) => Tensor }).reduce(
      (y, layer) => layer(y),
      x,
    ),
  );
}

/** The names of children, if they are layers. */
function checkChildren(children: Children): string[] {
  if (!isPlainObject(children))
    throw new ValueError(
      `module: the children are ${show(children)}; they are named layers in an object, { up: linear(8, 32), down: linear(32, 4) }.`,
    );
  for (const [name, child] of Object.entries(children)) checkLayer("module", `the child ${name}`, child);
  return Object.keys(children);
}

function streamOf({ training, key, watch }: Context, name: string, call: number): Context {
  const own: Key | undefined = call === 0 ? key?.fold(name) : key?.fold(name).fold(call);
  return {
    ...(training === undefined ? {} : { training }),
    ...(own === undefined ? {} : { key: own }),
    ...(watch && { watch: (path: string, value: unknown) => watch(`${name}.${path}`, value) }),
  };
}

function mapChildren<C extends Children, R>(
  children: C,
  f: (child: AnyLayer, name: string) => R,
): { readonly [K in keyof C]: R } {
  const mapped = Object.entries(children).map(([name, child]) => [name, f(child, name)] as const);
  return Object.fromEntries(mapped) as { readonly [K in keyof C]: R }; // one entry for each key of C
}

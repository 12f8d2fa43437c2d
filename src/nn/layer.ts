import type { Key } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What a layer may need besides parameters and input. */
export interface Context {
  /** Dropout is active only when true. */
  readonly training?: boolean;
  /** Key of this call's random numbers; needed by active dropout. Fold the step into it. */
  readonly key?: Key;
  /** Called with the path and the result of every layer on the way, and of what else a layer shows. */
  readonly watch?: (path: string, value: unknown) => void;
}

/** A tree of parameters. */
export type Params = { readonly [name: string]: Tensor | Params | undefined };

/**
 * Parameters as functions take them: `P extends ParamsLike<P>` are `Params`, and an interface of tensors and such interfaces too,
 * which TypeScript does not take for an object of any keys.
 */
export type ParamsLike<P> = { readonly [K in keyof P]: PartLike<P[K]> };

type PartLike<T> = T extends Tensor | undefined
  ? T
  : T extends (...args: never[]) => unknown
    ? never
    : T extends object
      ? ParamsLike<T>
      : never;

/** The parameters of layers by name. */
export type ParamsOf<C> = {
  readonly [K in keyof C]: C[K] extends { init(key: Key): infer P } ? P : never;
};

/**
 * A layer: parameters come from `init` and go into `apply`; it holds none itself. A layer made of others names
 * them in `children`, and `withChildren` builds it again from replacements (that is how adapters get in).
 *
 * What it takes and gives is a tensor, or plain data with tensors in it: where a layer needs positions, a mask or a
 * cache beside its input they are fields of `X`, and what it keeps for the next call is one of `Y`.
 */
export interface Layer<P = Params, X = Tensor, Y = Tensor> {
  readonly kind: string;
  init(key: Key): P;
  /** Takes what `init` made, or a tree of other storage: packed weights, adapters beside them. */
  apply(params: P | Params, x: X, context?: Context): Y;
  readonly children?: { readonly [name: string]: AnyLayer };
  /** The same layer with some children replaced; the others stay. */
  readonly withChildren?: (children: { readonly [name: string]: AnyLayer }) => Layer<Params, X, Y>;
  /** Parameters that are others of the layer, unless they are given: the path of each, and of the one it is. */
  readonly tied?: { readonly [path: string]: string };
  /** The path of the layer that makes scores of features, which "all-linear" leaves out as PEFT does. */
  readonly output?: string;
}

/** A layer, whatever it takes and gives, or a bare parameter. */
export type AnyLayer = Layer<Params | Tensor, never, unknown>;

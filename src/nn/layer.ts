import type { Key } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What a layer may need besides parameters and input. */
export interface Context {
  /** Dropout is active only when true. */
  readonly training?: boolean;
  /** Key of this call's random numbers; needed by active dropout. Fold the step into it. */
  readonly key?: Key;
}

/** A tree of parameters. */
export type Params = { readonly [name: string]: Tensor | Params | undefined };

/** The parameters of layers by name. */
export type ParamsOf<C> = { readonly [K in keyof C]: C[K] extends Layer<infer P> ? P : never };

/**
 * A layer: parameters come from `init` and go into `apply`; it holds none itself. A layer made of others names
 * them in `children`, and `withChildren` builds it again from replacements (that is how adapters get in).
 */
export interface Layer<P = Params> {
  readonly kind: string;
  init(key: Key): P;
  /** Takes what `init` made, or a tree of other storage: packed weights, adapters beside them. */
  apply(params: P | Params, x: Tensor, context?: Context): Tensor;
  readonly children?: { readonly [name: string]: Layer };
  /** The same layer with some children replaced; the others stay. */
  readonly withChildren?: (children: { readonly [name: string]: Layer }) => Layer;
}

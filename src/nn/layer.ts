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

/**
 * A layer: parameters come from `init` and go into `apply`; it holds none itself. A layer made of others names
 * them in `children`, and `withChildren` builds it again from replacements (that is how adapters get in).
 */
export interface Layer {
  readonly kind: string;
  readonly init: (key: Key) => Params;
  readonly apply: (params: Params, x: Tensor, context?: Context) => Tensor;
  readonly children?: { readonly [name: string]: Layer };
  /** The same layer with some children replaced; the others stay. */
  readonly withChildren?: (children: { readonly [name: string]: Layer }) => Layer;
}

// What families of matmul kernels are told and answer; types only.

/** The largest tiles of the family on an adapter, as tuning chose them. */
export interface SharedChoice {
  readonly family: "shared";
  /** Invocations of a workgroup. */
  readonly threads: number;
  /** Quads of rows, and of columns, that an invocation keeps. */
  readonly quads: number;
}

/** Tiles by subgroups of eight lanes. */
export interface SubgroupChoice {
  readonly family: "subgroup";
}

/** A family of matmul kernels with what tuning chose for it. */
export type MatmulChoice = SharedChoice | SubgroupChoice;

export interface MatmulShape {
  readonly batches: number;
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
}

/** How a family computes one shape. */
export interface MatmulTile {
  readonly template: "matmul-direct" | "matmul-shared" | "matmul-subgroup";
  readonly rows: number;
  readonly columns: number;
  /** How much of the inner axis is loaded at once. */
  readonly stage: number;
  /** Whether the transpose is computed: rows are columns, and a is b. */
  readonly exchanged: boolean;
  /** What the template wants to know besides. */
  readonly constants: Readonly<Record<string, number>>;
}

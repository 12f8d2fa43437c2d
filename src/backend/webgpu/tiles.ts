// What families of matmul kernels are told and answer; types only.

/** What both operands of a product are stored in: float16 is a case of its own, everything else is float32. */
export type Precision = "float16" | "float32";

/** The largest tiles of the family on an adapter, as tuning chose them. */
export interface SharedChoice {
  readonly family: "shared";
  /** Invocations of a workgroup. */
  readonly threads: number;
  /** Quads of rows, and of columns, that an invocation keeps. */
  readonly quads: number;
}

/** Tiles by subgroup matrices. */
export interface MatrixChoice extends MatrixShape {
  readonly family: "matrix";
  readonly precision: Precision;
  /** Invocations of a subgroup. */
  readonly lanes: number;
  /** Workgroup memory of the adapter. */
  readonly workgroupBytes: number;
}

/** Rows and columns of the sums of one multiplication of subgroup matrices, and its inner length. */
export interface MatrixShape {
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
}

/** A family of matmul kernels with what tuning chose for it; subgroups have eight lanes, and nothing to choose. */
export type MatmulChoice = SharedChoice | { readonly family: "subgroup" } | MatrixChoice;

export interface MatmulShape {
  readonly batches: number;
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
  /** Additions that it takes to make an element of each operand: none where it is loaded as it is. */
  readonly work: readonly [a: number, b: number];
}

/** How a family computes one shape. */
export interface MatmulTile {
  readonly template: "matmul-direct" | "matmul-shared" | "matmul-subgroup" | "matmul-matrix";
  readonly rows: number;
  readonly columns: number;
  /** How much of the inner axis is loaded at once. */
  readonly stage: number;
  /** Whether the transpose is computed: rows are columns, and a is b. */
  readonly exchanged: boolean;
  /** What the template wants to know besides: numbers, types, and bodies of functions. */
  readonly constants: Readonly<Record<string, number>>;
  readonly aliases?: Readonly<Record<string, string>>;
  readonly bodies?: (aAlongInner: boolean) => Readonly<Record<string, readonly string[]>>;
  /** Language extensions that it relies on. */
  readonly enable?: readonly string[];
}

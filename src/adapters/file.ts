import { show } from "../base/arguments.ts";
import { hostArray } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import type { Shape } from "../base/shape.ts";
import type { TensorFile } from "../io/tensor-file.ts";
import type { Adaptable } from "../lora/hosts.ts";
import { adapterTensors, kindWith, type NamedTensors, ownNames } from "../lora/kinds/index.ts";
import type { AdapterKind } from "../lora/kinds/kind.ts";
import { scaling } from "../lora/scaling.ts";
import { tensor } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";

// What files of adapters say, whatever tool wrote them: low-rank changes by the path of the module. Every format is read
// into this and written from it, in the shapes and with the numbers of `lora`.

export type FormatName = "peft" | "mlx" | "kohya" | "gguf";

/**
 * The change of one module: `scaling * B A`, with alpha / r or alpha / sqrt(r) as scaling. It has `loraA` `[r, in]` and `loraB`
 * `[out, r]`, of an embedding `[r, vocabulary]` and `[dim, r]`, and what adapters of its kind have, as `lora` has it.
 */
export interface AdapterModule extends NamedTensors {
  readonly kind: Adaptable["kind"];
  /** The lengths of a convolution's windows: its factors are `[r, in x windows]` and `[out, r]`. */
  readonly window?: Shape;
  readonly r: number;
  readonly alpha: number;
  /** What a file stores the values as; those of 16 bits are float32 here. */
  readonly dtype: string;
}

/** A parameter of the model that is stored whole, such as a bias that was trained too. */
export interface WholeParameter {
  readonly values: Tensor;
  readonly dtype: string;
}

/** An adapter as files have it. */
export interface AdapterFile {
  /** Where it was read, for messages. */
  readonly name: string;
  /** Whose form it has, "lorantz" for one that comes from a model; `config` is that tool's. */
  readonly format: FormatName | "lorantz";
  readonly rsLora: boolean;
  readonly dropout: number;
  /** By path, as `model.layers.0.self_attn.q_proj`. */
  readonly modules: ReadonlyMap<string, AdapterModule>;
  /** By path, as `lm_head.weight`. */
  readonly whole: ReadonlyMap<string, WholeParameter>;
  /** The configuration of the tool, every field of it; of GGUF its fields. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Texts that stand in the header of a safetensors file. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What is worth knowing of the file and no error. */
  readonly notes: readonly string[];
}

/** The factor on B A of a module, as `lora.scaling` has it. */
export function multiplierOf({ rsLora }: Pick<AdapterFile, "rsLora">, { r, alpha }: AdapterModule): number {
  return scaling({ r, alpha, rsLora }).value;
}

/** The alpha with which alpha / r is this multiplier, or as near as float64 has one. */
export function alphaFor(multiplier: number, r: number): number {
  const near = multiplier * r;
  const step = Math.abs(near) * Number.EPSILON;
  return [near, near + step, near - step].find((alpha) => alpha / r === multiplier) ?? near;
}

/** Tensors that were found for a module, with the dtypes of the file. */
export type Parts = { -readonly [K in keyof NamedTensors]?: WholeParameter } & {
  kind: AdapterModule["kind"];
  window?: Shape;
};

/** The kind of adapter that a module has. */
export function kindOf(module: AdapterModule): AdapterKind {
  return kindWith((name) => module[name] !== undefined);
}

/** The tensors of a module by their names. */
export function tensorsOf(module: AdapterModule): NamedTensors {
  const own = ownNames.flatMap((name) => (module[name] ? [[name, module[name]]] : []));
  return { loraA: module.loraA, loraB: module.loraB, ...Object.fromEntries(own) };
}

/** What of an adapter a tool has no place for: the tensors that it knows no name of. */
export function strangers({ modules }: AdapterFile, known: readonly string[] = []): readonly string[] {
  return [...modules].flatMap(([path, module]) =>
    module.window
      ? `the convolution ${path}`
      : adapterTensors.flatMap(({ name, what }) =>
          module[name] && !["loraA", "loraB", ...known].includes(name) ? [`the ${what} of ${path}`] : [],
        ),
  );
}

/** A tensor of a file with its dtype there. */
export async function readPart(file: TensorFile, name: string): Promise<WholeParameter> {
  return { values: await file.read(name), dtype: file.info(name).dtype };
}

/**
 * The module of tensors in the shapes of `lora`.
 *
 * @throws ValueError where one is missing, ShapeError where they do not fit each other.
 */
export function moduleOf(
  where: string,
  path: string,
  parts: Parts,
  alphaOf: (r: number) => number,
): AdapterModule {
  const { loraA: a, loraB: b } = parts;
  if (!a || !b)
    throw new ValueError(
      `${where}: ${path} has its ${a ? "A, and no B" : "B, and no A"}. The file is not whole.`,
    );
  if (a.values.rank !== 2 || b.values.rank !== 2)
    throw new ShapeError(
      `${where}: ${path} has the factors ${show(a.values)} and ${show(b.values)}; those of linear layers and embeddings are matrices, and those of convolutions [r, in, ...] and [out, r, 1, ...], which only files of PEFT have here.`,
    );
  const sizes = { r: a.values.shape[0]!, in: a.values.shape[1]!, out: b.values.shape[0]! };
  if (sizes.r === 0 || b.values.shape[1] !== sizes.r)
    throw new ShapeError(
      `${where}: ${path} has the factors ${show(a.values)} and ${show(b.values)}; expected A [r, in] and B [out, r]. Are they transposed, or of another tool?`,
    );
  const there = adapterTensors.flatMap((tensor) => {
    const part = parts[tensor.name];
    return part ? [{ ...tensor, part }] : [];
  });
  for (const { what, axes, part } of there) {
    const shape = axes.map((axis) => sizes[axis]);
    if (part.values.shape.join() !== shape.join())
      throw new ShapeError(
        `${where}: ${path} has the ${what} ${show(part.values)}; expected [${axes.join(", ")}], here [${shape.join(",")}].`,
      );
  }
  const dtypes = new Set(there.map(({ part }) => part.dtype));
  return {
    ...Object.fromEntries(there.map(({ name, part }) => [name, part.values])),
    loraA: a.values,
    loraB: b.values,
    kind: parts.kind,
    ...(parts.window && { window: parts.window }),
    r: sizes.r,
    alpha: alphaOf(sizes.r),
    dtype: dtypes.size === 1 ? a.dtype : dtypes.has("F64") ? "F64" : "F32",
  };
}

/** @throws ValueError naming what the tool has no place for. */
export function refuse(tool: string, { name }: AdapterFile, what: readonly string[], advice: string): void {
  if (what.length === 0) return;
  const list = `${what.slice(0, 4).join(", ")}${what.length > 4 ? `, and ${what.length - 4} more` : ""}`;
  throw new ValueError(`${name}: ${tool} has no place for ${list}. ${advice}`);
}

// Values on the host: an adapter is small, and no device has to be open.

/** A matrix with rows and columns exchanged. */
export async function transposed(matrix: Tensor): Promise<Tensor> {
  const [rows, columns] = matrix.shape as readonly [number, number];
  return rebuilt(
    matrix,
    [columns, rows],
    (values, i) => values[(i % rows) * columns + Math.floor(i / rows)]!,
  );
}

/** A matrix of other rows: row i is row `from(i)` of the old one. */
export async function rowsFrom(matrix: Tensor, from: (row: number) => number): Promise<Tensor> {
  const columns = matrix.shape[1]!;
  return rebuilt(
    matrix,
    matrix.shape,
    (values, i) => values[from(Math.floor(i / columns)) * columns + (i % columns)]!,
  );
}

/** Every element times a number, rounded once. */
export async function scaled(matrix: Tensor, factor: number): Promise<Tensor> {
  return rebuilt(matrix, matrix.shape, (values, i) => values[i]! * factor);
}

async function rebuilt(
  matrix: Tensor,
  shape: readonly number[],
  value: (values: ArrayLike<number>, i: number) => number,
): Promise<Tensor> {
  const old = await matrix.data();
  const dtype = matrix.dtype === "float64" ? "float64" : "float32";
  const made = hostArray(dtype, old.length);
  for (let i = 0; i < made.length; i++) made[i] = value(old, i);
  return tensor(made, { shape, dtype });
}

import { show } from "../base/arguments.ts";
import { hostArray } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import type { TensorFile } from "../io/tensor-file.ts";
import { scaling } from "../lora/scaling.ts";
import { tensor } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";

// What files of adapters say, whatever tool wrote them: low-rank changes by the path of the module. Every format is read
// into this and written from it, in the shapes and with the numbers of `lora`.

export type FormatName = "peft" | "mlx" | "kohya" | "gguf";

/** The change of one module: `scaling * B A`, with alpha / r or alpha / sqrt(r) as scaling. */
export interface AdapterModule {
  readonly kind: "linear" | "embedding";
  readonly r: number;
  readonly alpha: number;
  /** `[r, in]`; of an embedding `[r, vocabulary]`. */
  readonly loraA: Tensor;
  /** `[out, r]`; of an embedding `[dim, r]`. */
  readonly loraB: Tensor;
  /** `[out]`, inside the scaled branch. */
  readonly loraBias?: Tensor;
  /** `[out]`, of DoRA. */
  readonly loraMagnitude?: Tensor;
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
export interface Parts {
  loraA?: WholeParameter;
  loraB?: WholeParameter;
  loraBias?: WholeParameter;
  loraMagnitude?: WholeParameter;
  kind: AdapterModule["kind"];
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
  { loraA: a, loraB: b, loraBias, loraMagnitude, kind }: Parts,
  alphaOf: (r: number) => number,
): AdapterModule {
  if (!a || !b)
    throw new ValueError(
      `${where}: ${path} has its ${a ? "A, and no B" : "B, and no A"}. The file is not whole.`,
    );
  const [r, outputs] = [a.values.shape[0]!, b.values.shape[0]!];
  if (a.values.rank !== 2 || b.values.rank !== 2)
    throw new ShapeError(
      `${where}: ${path} has the factors ${show(a.values)} and ${show(b.values)}; those of linear layers and embeddings are matrices. Convolutions are not implemented.`,
    );
  const fits = r > 0 && b.values.shape[1] === r;
  for (const vector of [loraBias, loraMagnitude])
    if (vector && vector.values.shape.join() !== String(outputs))
      throw new ShapeError(`${where}: ${path} has a vector ${show(vector.values)} for ${outputs} outputs.`);
  if (!fits)
    throw new ShapeError(
      `${where}: ${path} has the factors ${show(a.values)} and ${show(b.values)}; expected A [r, in] and B [out, r]. Are they transposed, or of another tool?`,
    );
  const dtypes = new Set([a, b, loraBias, loraMagnitude].flatMap((part) => (part ? [part.dtype] : [])));
  return {
    kind,
    r,
    alpha: alphaOf(r),
    loraA: a.values,
    loraB: b.values,
    ...(loraBias && { loraBias: loraBias.values }),
    ...(loraMagnitude && { loraMagnitude: loraMagnitude.values }),
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

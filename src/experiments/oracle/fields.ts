import type { DeviceDType } from "../../base/dtype.ts";
import { hostArray } from "../../base/dtype.ts";
import { ValueError } from "../../base/errors.ts";
import { numel, type Shape } from "../../base/shape.ts";
import { tensor } from "../../tensor/creation.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { OracleDType } from "./engine.ts";

/** A tensor of a reference file: its values in float64, and whether they are floats, indices or booleans. */
export interface Reference {
  readonly shape: Shape;
  readonly dtype: "float" | "int64" | "bool";
  readonly data: Float64Array;
}

/** A reference tensor as a tensor of Lorantz: floats as `float`, indices as int32. */
export function toTensor({ shape, dtype, data }: Reference, float: OracleDType): Tensor {
  const target: DeviceDType = dtype === "float" ? float : dtype === "int64" ? "int32" : "bool";
  const values = hostArray(target, data.length);
  values.set(data);
  return tensor(values, { shape, dtype: target });
}

/** One object of a reference file. A field that is missing or of another type is an error that names it. */
export class Fields {
  /** Where the object stands, for messages. */
  readonly place: string;
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(value: unknown, place: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ValueError(`${place}: expected an object; found ${show(value)}.`);
    }
    this.place = place;
    this.#values = value as Record<string, unknown>; // an object that is no array
  }

  get names(): string[] {
    return Object.keys(this.#values);
  }

  /** The object as it is. */
  get values(): Readonly<Record<string, unknown>> {
    return this.#values;
  }

  /** Whether the field is there and not null. */
  has(name: string): boolean {
    return this.#values[name] !== undefined && this.#values[name] !== null;
  }

  number(name: string, otherwise?: number): number {
    if (otherwise !== undefined && !this.has(name)) return otherwise;
    return decodeNumber(this.#values[name], `${this.place}.${name}`);
  }

  /** As it stands in the file. */
  value(name: string): unknown {
    return this.#values[name];
  }

  isList(name: string): boolean {
    return Array.isArray(this.#values[name]);
  }

  numberLists(name: string): number[][] {
    return this.list(name).map((_, i) =>
      new Fields({ list: this.list(name)[i] }, `${this.place}.${name}[${i}]`).numbers("list"),
    );
  }

  numbers(name: string): number[] {
    return this.list(name).map((value, i) => decodeNumber(value, `${this.place}.${name}[${i}]`));
  }

  boolean(name: string): boolean {
    const value = this.#values[name];
    return typeof value === "boolean" ? value : this.#fail(name, "true or false");
  }

  text(name: string): string {
    const value = this.#values[name];
    return typeof value === "string" ? value : this.#fail(name, "a string");
  }

  texts(name: string): string[] {
    return this.list(name).map((value) => (typeof value === "string" ? value : this.#fail(name, "strings")));
  }

  list(name: string): readonly unknown[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value : this.#fail(name, "an array");
  }

  object(name: string): Fields {
    return new Fields(this.#values[name], `${this.place}.${name}`);
  }

  objects(name: string): Fields[] {
    return this.list(name).map((value, i) => new Fields(value, `${this.place}.${name}[${i}]`));
  }

  tensor(name: string): Reference {
    return decodeTensor(this.#values[name], `${this.place}.${name}`);
  }

  /** A list of tensors, null where there is none. */
  tensors(name: string): (Reference | null)[] {
    return this.list(name).map((value, i) =>
      value === null ? null : decodeTensor(value, `${this.place}.${name}[${i}]`),
    );
  }

  /** A list of lists of tensors. */
  table(name: string): Reference[][] {
    return this.list(name).map((row, i) => {
      const place = `${this.place}.${name}[${i}]`;
      if (!Array.isArray(row)) throw new ValueError(`${place}: expected an array; found ${show(row)}.`);
      return row.map((value: unknown, j) => decodeTensor(value, `${place}[${j}]`));
    });
  }

  /** The same object as a case of that name. */
  named(name: string): Fields {
    return new Fields({ ...this.#values, name }, `${this.place}: ${name}`);
  }

  #fail(name: string, expected: string): never {
    throw new ValueError(`${this.place}.${name}: expected ${expected}; found ${show(this.#values[name])}.`);
  }
}

function decodeTensor(value: unknown, place: string): Reference {
  const fields = new Fields(value, place);
  const shape = fields.numbers("shape");
  const dtype = fields.has("dtype") ? fields.text("dtype") : "float";
  if (dtype !== "float" && dtype !== "int64" && dtype !== "bool") {
    throw new ValueError(`${place}.dtype: expected "int64", "bool" or nothing; found "${dtype}".`);
  }
  const data = Float64Array.from(fields.numbers("data"));
  if (shape.some((length) => !Number.isInteger(length) || length < 0) || numel(shape) !== data.length) {
    throw new ValueError(`${place}: ${data.length} values do not fill the shape [${shape.join(",")}].`);
  }
  if (dtype !== "float" && data.some((element) => !Number.isInteger(element))) {
    throw new ValueError(`${place}.data: expected integers for ${dtype}.`);
  }
  return { shape, dtype, data };
}

function decodeNumber(value: unknown, place: string): number {
  if (typeof value === "number") return value;
  if (value === "NaN") return Number.NaN;
  if (value === "Infinity") return Number.POSITIVE_INFINITY;
  if (value === "-Infinity") return Number.NEGATIVE_INFINITY;
  throw new ValueError(`${place}: expected a number; found ${show(value)}.`);
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}

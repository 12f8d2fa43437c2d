import { parseJson } from "../base/json.ts";
import { classHead } from "../models/load.ts";
import type { AdapterFile, WholeParameter } from "./file.ts";

// An adapter that holds the output layer of a classifier, as PEFT's `modules_to_save`, and the names of its classes.

/** The parameter of that layer. */
export const classWeight = `${classHead}.weight`;

/** The key under which the header of an adapter's file has the names of its classes. */
export const labelsKey = "labels";

type Held = Pick<AdapterFile, "whole" | "metadata">;

/** The output layer that an adapter holds. */
export function headOf({ whole }: Held): WholeParameter | undefined {
  return whole.get(classWeight);
}

/** The names of the classes, if the adapter has one for each. */
export function namesOf(adapter: Held): readonly string[] | undefined {
  const text = adapter.metadata[labelsKey];
  const names: unknown = text === undefined ? undefined : parseJson(labelsKey, text);
  const isFor = Array.isArray(names) && names.length === headOf(adapter)?.values.shape[0];
  return isFor ? names.map(String) : undefined;
}

/** The config.json of a model with that output layer in the place of its own. */
export function classifierConfig(
  config: Readonly<Record<string, unknown>>,
  adapter: Held,
): Readonly<Record<string, unknown>> {
  const { architectures } = config;
  const count = headOf(adapter)?.values.shape[0] ?? 0;
  const names = namesOf(adapter) ?? Array.from({ length: count }, (_, i) => `LABEL_${i}`);
  const of = (name: unknown) =>
    String(name).replace(
      /(ForCausalLM|LMHeadModel|ForSequenceClassification)?$/,
      "ForSequenceClassification",
    );
  return {
    ...config,
    architectures: Array.isArray(architectures) ? architectures.map(of) : ["ForSequenceClassification"],
    num_labels: count,
    id2label: Object.fromEntries(names.map((name, i) => [i, name])),
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
  };
}

import { isNothing, isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { matcher } from "../base/pattern.ts";
import { kinds } from "../lora/kinds/index.ts";

// The fields of PEFT's LoraConfig: those that say which function files hold, and what they say of a module.

export type Config = Readonly<Record<string, unknown>>;

/** The fields that say which function the file holds, with their defaults. */
const read = {
  r: 8,
  lora_alpha: 8,
  lora_dropout: 0,
  use_rslora: false,
  fan_in_fan_out: false,
  bias: "none",
  rank_pattern: {},
  alpha_pattern: {},
  modules_to_save: null,
  target_modules: null,
} as const;

/** Whether a field says of which kind the adapter is. */
const isOption = (name: string) => kinds.some(({ option }) => option.peft === name);

/** Fields that do not change what a trained adapter computes: kept as they are. */
const kept: readonly string[] = [
  "auto_mapping",
  "base_model_name_or_path",
  "corda_config",
  "eva_config",
  "exclude_modules",
  "inference_mode",
  "layers_pattern",
  "layers_to_transform",
  "lora_ga_config",
  "loftq_config",
  "megatron_config",
  "megatron_core",
  "peft_type",
  "peft_version",
  "qalora_group_size",
  "revision",
  "runtime_config",
  "task_type",
];

/** Starts that leave another base model behind, which the adapter needs. */
const otherBase = /^(pissa|olora|loftq|corda|lora_ga)/;

/**
 * @throws ValueError for a field that changes the function and is not implemented, or that is not known and says something.
 */
export function checkFields(where: string, config: Config): void {
  if (config.peft_type !== undefined && config.peft_type !== "LORA")
    throw new ValueError(`${where}: peft_type is ${show(config.peft_type)}; LORA is implemented.`);
  const { init_lora_weights: init } = config;
  if (typeof init === "string" && otherBase.test(init))
    throw new ValueError(
      `${where}: init_lora_weights is ${show(init)}, which changed the weights of the base model: the adapter belongs to the changed ones. Let PEFT save it as an ordinary one, model.save_pretrained(..., path_initial_model_for_weight_conversion=...).`,
    );
  for (const [name, value] of Object.entries(config)) {
    if (
      name in read ||
      isOption(name) ||
      kept.includes(name) ||
      name === "init_lora_weights" ||
      isNothing(value)
    )
      continue;
    throw new ValueError(
      `${where}: the field ${name} is ${isPlainObject(value) ? JSON.stringify(value).slice(0, 80) : show(value)}; it is not implemented, and may change what the adapter computes. Without it the adapter would be another one.`,
    );
  }
}

interface Fields {
  readonly r: number;
  readonly alpha: number;
  readonly ranks: Readonly<Record<string, number>>;
  readonly alphas: Readonly<Record<string, number>>;
  readonly rsLora: boolean;
}

export function fieldsOf(where: string, config: Config): Fields {
  const given = (name: keyof typeof read) => config[name] ?? read[name];
  const number = (name: keyof typeof read): number => {
    const value = given(name);
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw new ValueError(`${where}: ${name} is ${show(value)}; it is a number.`);
  };
  const pattern = (name: keyof typeof read): Readonly<Record<string, number>> => {
    const value = given(name);
    if (isPlainObject(value) && Object.values(value).every(Number.isFinite))
      return value as Record<string, number>;
    throw new ValueError(`${where}: ${name} is ${show(value)}; it is an object of numbers.`);
  };
  const flag = (name: keyof typeof read): boolean => {
    const value = given(name);
    if (typeof value === "boolean") return value;
    throw new ValueError(`${where}: ${name} is ${show(value)}; it is true or false.`);
  };
  flag("fan_in_fan_out");
  return {
    r: number("r"),
    alpha: number("lora_alpha"),
    ranks: pattern("rank_pattern"),
    alphas: pattern("alpha_pattern"),
    rsLora: flag("use_rslora"),
  };
}

/** The value of the first pattern that matches a path, as PEFT's get_pattern_key has it. */
export function valueFor(
  where: string,
  pattern: Readonly<Record<string, number>>,
  path: string,
  otherwise: number,
): number {
  const key = Object.keys(pattern).find((key) => {
    try {
      return matcher(`^(.*\\.)?(${key})$`)(path);
    } catch (error) {
      throw new ValueError(
        `${where}: the pattern ${show(key)} is not a regular expression (${(error as Error).message}).`,
      );
    }
  });
  return key === undefined ? otherwise : pattern[key]!;
}

import { type AdapterFile, type AdapterModule, type FormatName, multiplierOf } from "./file.ts";

// Who reads which files, and which multiplier it takes from them. A row that has no multiplier is a fault that was
// reported without enough of its circumstances to say by which factor it is off.

export interface Consumer {
  readonly name: string;
  /** Whose files it reads. */
  readonly reads: FormatName;
  readonly says: string;
  readonly source: string;
  readonly multiplier?: (adapter: AdapterFile, module: AdapterModule) => number;
}

/** Tools in versions that divide alpha by r whatever use_rslora says. */
const withoutRsLora: Readonly<Record<string, string>> = {
  SGLang: "sgl-project/sglang issue 40835",
  vLLM: "vllm-project/vllm issue 55545",
  "TensorRT-LLM": "NVIDIA/TensorRT-LLM issue 1668",
  ExLlamaV2: "turboderp-org/exllamav2 issue 619",
  LoRAX: "predibase/lorax issue 299",
};

export const consumers: readonly Consumer[] = [
  {
    name: "PEFT",
    reads: "peft",
    says: "alpha / r, or alpha / sqrt(r) with use_rslora, by its patterns",
    source: "huggingface/peft, tuners/lora/layer.py",
    multiplier: multiplierOf,
  },
  {
    name: "llama.cpp, by convert_lora_to_gguf.py",
    reads: "peft",
    says: "lora_alpha / r: without use_rslora and alpha_pattern",
    source: "ggml-org/llama.cpp, convert_lora_to_gguf.py",
    multiplier: ({ config }, { r }) => (typeof config.lora_alpha === "number" ? config.lora_alpha : 8) / r,
  },
  ...Object.entries(withoutRsLora).map(
    ([name, source]): Consumer => ({
      name,
      reads: "peft",
      says: "alpha / r, without use_rslora, in the versions that were reported",
      source,
      multiplier: (_, { alpha, r }) => alpha / r,
    }),
  ),
  {
    name: "MLX-LM",
    reads: "mlx",
    says: "scale, as it is",
    source: "ml-explore/mlx-lm, tuner/lora.py",
    multiplier: multiplierOf,
  },
  {
    name: "vmlx-swift",
    reads: "mlx",
    says: "takes the factors without transposing them, in a version that was reported",
    source: "vmlx-swift issue 320",
  },
  {
    name: "kohya",
    reads: "kohya",
    says: "alpha / rank of each module; without an alpha, or with 0, 1",
    source: "kohya-ss/sd-scripts, networks/lora.py",
    multiplier: multiplierOf,
  },
  {
    name: "diffusers",
    reads: "kohya",
    says: "a quarter of the multiplier, in a case that was reported",
    source: "huggingface/diffusers issue 14409",
  },
  {
    name: "ComfyUI",
    reads: "kohya",
    says: "another multiplier, in a case that was reported",
    source: "comfyanonymous/ComfyUI issue 15848",
  },
  {
    name: "llama.cpp",
    reads: "gguf",
    says: "adapter.lora.alpha / rank, times the scale that its user gives; without an alpha, or with 0, that scale alone",
    source: "ggml-org/llama.cpp, src/llama-adapter.h",
    multiplier: multiplierOf,
  },
];

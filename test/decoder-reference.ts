// Decoders in plain numbers, token by token, written from the definitions of the architectures and not from the library:
// every token asks which tokens before it it sees, and adds up. Weights are rows of float64 by their names in a checkpoint.

type Vector = readonly number[];

export interface ReferenceConfig {
  readonly model_type: string;
  readonly [field: string]: unknown;
}

export type Weights = (name: string) => {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
};

interface Settings {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly size: number;
  readonly eps: number;
}

const dot = (a: Vector, b: Vector) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const add = (a: Vector, b: Vector) => a.map((x, i) => x + b[i]!);
const cap = (x: number, bound: unknown) => (typeof bound === "number" ? bound * Math.tanh(x / bound) : x);

const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const silu = (x: number) => x / (1 + Math.exp(-x));

/** Logits of every token of one sequence. `last` is the largest position of the batch that it is in. */
export function referenceLogits(
  config: ReferenceConfig,
  weights: Weights,
  tokens: readonly number[],
  last = tokens.length - 1,
): number[][] {
  const n = (name: string, otherwise?: number) => Number(config[name] ?? otherwise);
  const gpt = config.model_type === "gpt2";
  const gemma = config.model_type.startsWith("gemma");
  const fourNorms = config.model_type === "gemma2" || config.model_type === "gemma3_text";
  const s: Settings = gpt
    ? {
        width: n("n_embd"),
        layers: n("n_layer"),
        heads: n("n_head"),
        kvHeads: n("n_head"),
        size: n("n_embd") / n("n_head"),
        eps: n("layer_norm_epsilon", 1e-5),
      }
    : {
        width: n("hidden_size"),
        layers: n("num_hidden_layers"),
        heads: n("num_attention_heads"),
        kvHeads: n("num_key_value_heads", n("num_attention_heads")),
        size: n("head_dim", n("hidden_size") / n("num_attention_heads")),
        eps: n("rms_norm_eps", config.model_type === "phi3" ? 1e-5 : 1e-6),
      };
  const body = gpt ? "transformer" : "model";

  const row = (name: string, i: number): Vector => {
    const { shape, data } = weights(name);
    return Array.from({ length: shape[1]! }, (_, j) => data[i * shape[1]! + j]!);
  };
  const vector = (name: string): Vector => Array.from(weights(name).data);
  const has = (name: string) => {
    try {
      return weights(name).shape.length > 0;
    } catch {
      return false;
    }
  };
  const linear = (name: string, x: Vector): Vector => {
    const { shape } = weights(`${name}.weight`);
    const y = Array.from({ length: shape[0]! }, (_, i) => dot(row(`${name}.weight`, i), x));
    return has(`${name}.bias`) ? add(y, vector(`${name}.bias`)) : y;
  };
  const norm = (name: string, x: Vector): Vector => {
    const weight = vector(`${name}.weight`);
    if (gpt) {
      const mean = x.reduce((a, b) => a + b, 0) / x.length;
      const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
      const bias = vector(`${name}.bias`);
      return x.map((value, i) => ((value - mean) / Math.sqrt(variance + s.eps)) * weight[i]! + bias[i]!);
    }
    const root = Math.sqrt(dot(x, x) / x.length + s.eps);
    return x.map((value, i) => (value / root) * (weight[i]! + (gemma ? 1 : 0)));
  };

  // Which layers have a window, from the definitions.
  const isLocal = (layer: number): boolean => {
    const types = config.layer_types as readonly string[] | undefined;
    if (types) return types[layer] === "sliding_attention";
    switch (config.model_type) {
      case "mistral":
      case "phi3":
        return typeof config.sliding_window === "number";
      case "qwen2":
      case "qwen3":
        return config.use_sliding_window === true && layer >= n("max_window_layers", 28);
      case "gemma2":
        return layer % 2 === 0;
      case "gemma3_text":
        return (layer + 1) % n("sliding_window_pattern", 6) !== 0;
      default:
        return false;
    }
  };

  const rotate = (x: Vector, position: number, layer: number): Vector => {
    if (gpt) return x;
    const local = config.model_type === "gemma3_text" && isLocal(layer);
    const theta = local
      ? n("rope_local_base_freq", 10000)
      : n("rope_theta", config.model_type === "gemma3_text" ? 1e6 : 10000);
    const size = Math.trunc(s.size * n("partial_rotary_factor", 1));
    const half = size / 2;
    const scaling = local ? undefined : (config.rope_scaling as Record<string, unknown> | undefined);
    const y = [...x];
    for (let i = 0; i < half; i++) {
      let [frequency, factor] = [theta ** ((-2 * i) / size), 1];
      if (scaling) {
        const of = (name: string, otherwise?: number) => Number(scaling[name] ?? otherwise);
        const original = of(
          "original_max_position_embeddings",
          n("original_max_position_embeddings", n("max_position_embeddings")),
        );
        switch (scaling.rope_type ?? scaling.type) {
          case "linear":
            frequency /= of("factor");
            break;
          case "llama3": {
            const wavelength = (2 * Math.PI) / frequency;
            const [low, high] = [original / of("low_freq_factor"), original / of("high_freq_factor")];
            if (wavelength > low) frequency /= of("factor");
            else if (wavelength >= high) {
              const t =
                (original / wavelength - of("low_freq_factor")) /
                (of("high_freq_factor") - of("low_freq_factor"));
              frequency = (1 - t) * (frequency / of("factor")) + t * frequency;
            }
            break;
          }
          case "dynamic": {
            const long = Math.max(last + 1, n("max_position_embeddings"));
            const grown = (of("factor") * long) / n("max_position_embeddings") - (of("factor") - 1);
            frequency = (theta * grown ** (size / (size - 2))) ** ((-2 * i) / size);
            break;
          }
          case "yarn": {
            const at = (turns: number) =>
              (size * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
            const low = Math.max(Math.floor(at(of("beta_fast", 32))), 0);
            const high = Math.min(Math.ceil(at(of("beta_slow", 1))), size - 1);
            const ramp = Math.min(Math.max((i - low) / (high === low ? 0.001 : high - low), 0), 1);
            frequency = (frequency / of("factor")) * ramp + frequency * (1 - ramp);
            factor = 0.1 * Math.log(of("factor")) + 1;
            break;
          }
          case "su":
          case "longrope": {
            const factors = (last + 1 > original ? scaling.long_factor : scaling.short_factor) as number[];
            frequency /= factors[i]!;
            const longer = n("max_position_embeddings") / original;
            factor = longer > 1 ? Math.sqrt(1 + Math.log(longer) / Math.log(original)) : 1;
            break;
          }
        }
      }
      const [cos, sin] = [Math.cos(position * frequency) * factor, Math.sin(position * frequency) * factor];
      y[i] = x[i]! * cos - x[i + half]! * sin;
      y[i + half] = x[i + half]! * cos + x[i]! * sin;
    }
    return y;
  };

  let stream = tokens.map((token, at): Vector => {
    const x = row(`${body}.${gpt ? "wte" : "embed_tokens"}.weight`, token);
    if (gpt) return add(x, row(`${body}.wpe.weight`, at));
    return gemma ? x.map((value) => value * Math.sqrt(s.width)) : x;
  });

  for (let layer = 0; layer < s.layers; layer++) {
    const block = `${body}.${gpt ? "h" : "layers"}.${layer}`;
    const attention = `${block}.${gpt ? "attn" : "self_attn"}`;
    const heads = (x: Vector, count: number): Vector[] =>
      Array.from({ length: count }, (_, h) => x.slice(h * s.size, (h + 1) * s.size));
    const projected = stream.map((x, at) => {
      const y = norm(`${block}.${gpt ? "ln_1" : "input_layernorm"}`, x);
      const [queries, keys] = [s.heads * s.size, s.kvHeads * s.size];
      let [q, k, v]: [Vector, Vector, Vector] = [[], [], []];
      if (gpt || config.model_type === "phi3") {
        const all = linear(`${attention}.${gpt ? "c_attn" : "qkv_proj"}`, y);
        [q, k, v] = [all.slice(0, queries), all.slice(queries, queries + keys), all.slice(queries + keys)];
      } else {
        [q, k, v] = [
          linear(`${attention}.q_proj`, y),
          linear(`${attention}.k_proj`, y),
          linear(`${attention}.v_proj`, y),
        ];
      }
      const normed = (name: string, x: Vector) =>
        has(`${attention}.${name}.weight`) ? norm(`${attention}.${name}`, x) : x;
      return {
        q: heads(q, s.heads).map((head) => rotate(normed("q_norm", head), at, layer)),
        k: heads(k, s.kvHeads).map((head) => rotate(normed("k_norm", head), at, layer)),
        v: heads(v, s.kvHeads),
      };
    });
    const scale = fourNorms ? n("query_pre_attn_scalar", 256) ** -0.5 : s.size ** -0.5;
    const scaled = gpt && config.scale_attn_by_inverse_layer_idx ? scale / (layer + 1) : scale;
    const window = isLocal(layer) ? n("sliding_window", 4096) : Infinity;
    stream = stream.map((x, at): Vector => {
      const seen = tokens
        .map((_, key) => key)
        .filter((key) => {
          return key <= at && at - key < window;
        });
      const joined = projected[at]!.q.flatMap((q, h): number[] => {
        const shared = Math.floor(h / (s.heads / s.kvHeads));
        const scores = seen.map((key) =>
          cap(dot(q, projected[key]!.k[shared]!) * scaled, config.attn_logit_softcapping),
        );
        const top = Math.max(...scores);
        const weighed = scores.map((score) => Math.exp(score - top));
        const total = weighed.reduce((a, b) => a + b, 0);
        return Array.from({ length: s.size }, (_, d) =>
          seen.reduce((sum, key, i) => sum + (weighed[i]! / total) * projected[key]!.v[shared]![d]!, 0),
        );
      });
      let y = linear(`${attention}.${gpt ? "c_proj" : "o_proj"}`, joined);
      if (fourNorms) y = norm(`${block}.post_attention_layernorm`, y);
      const z = add(x, y);
      const before = gpt ? "ln_2" : fourNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm";
      const input = norm(`${block}.${before}`, z);
      const mlp = `${block}.mlp`;
      let made: Vector;
      if (gpt) made = linear(`${mlp}.c_proj`, linear(`${mlp}.c_fc`, input).map(gelu));
      else {
        const both = config.model_type === "phi3" ? linear(`${mlp}.gate_up_proj`, input) : undefined;
        const gate = both ? both.slice(0, both.length / 2) : linear(`${mlp}.gate_proj`, input);
        const up = both ? both.slice(both.length / 2) : linear(`${mlp}.up_proj`, input);
        const act = gemma ? gelu : silu;
        made = linear(
          `${mlp}.down_proj`,
          gate.map((value, i) => act(value) * up[i]!),
        );
      }
      if (fourNorms) made = norm(`${block}.post_feedforward_layernorm`, made);
      return add(z, made);
    });
  }

  const head = has("lm_head.weight") ? "lm_head.weight" : `${body}.${gpt ? "wte" : "embed_tokens"}.weight`;
  const vocabulary = weights(head).shape[0]!;
  return stream.map((x) => {
    const y = norm(`${body}.${gpt ? "ln_f" : "norm"}`, x);
    return Array.from({ length: vocabulary }, (_, i) =>
      cap(dot(row(head, i), y), config.final_logit_softcapping),
    );
  });
}

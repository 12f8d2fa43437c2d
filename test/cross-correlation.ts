// Cross-correlation of images by plain loops, and its gradients.

export type Shape4 = readonly [number, number, number, number];

export interface Windows {
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  readonly groups: number;
}

/** Calls `visit` with the places of each product that a cross-correlation adds up: in the result, the input, the weight. */
export function products(
  [batch, channels, height, width]: Shape4,
  [out, own, kh, kw]: Shape4,
  { stride, padding, dilation, groups }: Windows,
  visit: (y: number, x: number, w: number) => void,
): void {
  const lengthOf = (n: number, k: number) =>
    Math.floor((n + 2 * padding - dilation * (k - 1) - 1) / stride) + 1;
  const [oh, ow] = [lengthOf(height, kh), lengthOf(width, kw)];
  for (let b = 0; b < batch; b++)
    for (let o = 0; o < out; o++)
      for (let i = 0; i < oh; i++)
        for (let j = 0; j < ow; j++)
          for (let c = 0; c < own; c++)
            for (let p = 0; p < kh; p++)
              for (let q = 0; q < kw; q++) {
                const [row, column] = [
                  i * stride - padding + p * dilation,
                  j * stride - padding + q * dilation,
                ];
                if (row < 0 || column < 0 || row >= height || column >= width) continue;
                const channel = Math.floor(o / (out / groups)) * own + c;
                visit(
                  ((b * out + o) * oh + i) * ow + j,
                  ((b * channels + channel) * height + row) * width + column,
                  ((o * own + c) * kh + p) * kw + q,
                );
              }
}

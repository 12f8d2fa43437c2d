import { boundsOf, checkIndices } from "../graph/indices.ts";
import type { Node } from "../graph/node.ts";
import type { Device } from "./device.ts";
import type { TensorStorage } from "./storage.ts";

/** What a device that checks indices computes beside the results: the least and the largest of all that are marked. */
export interface IndexBounds {
  readonly nodes: readonly Node[];
  /** Looks at the values of the nodes. @throws ValueError for an index out of range. */
  check(values: readonly TensorStorage[]): Promise<void>;
}

/** The bounds of the indices that the roots depend on; none where the device does not check them. */
export function boundsOn(device: Device, roots: readonly Node[]): IndexBounds {
  const marked = device.checkIndices ? boundsOf(roots) : [];
  return {
    nodes: marked.flatMap(({ least, most }) => [least, most]),
    async check(values) {
      for (const [i, { range }] of marked.entries()) {
        const pair = values.slice(2 * i, 2 * i + 2);
        checkIndices(
          range,
          (await Promise.all(pair.map((storage) => storage.read()))).map(([value]) => value!),
        );
      }
    },
  };
}

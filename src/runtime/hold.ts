import type { Node } from "../graph/node.ts";
import { type Closing, storageOf } from "./storage.ts";

/**
 * What a call or a reading asks of its tensors, from when it is made until it is done: they keep their values for it, whoever
 * else gives them away meanwhile, and what it gives away itself is gone for all that comes later. So what is not awaited means
 * the same in whatever order programs are ready.
 */
export class Hold {
  #kept: Node[] = [];
  #closed: Map<Node, Closing> | undefined;

  /**
   * Keeps the values of a tensor, of which it counts as one use.
   *
   * @throws DisposedError when somebody else gave it away.
   */
  keep(node: Node): void {
    if (node.operation.kind === "buffer" && !this.#closed?.has(node)) storageOf(node).check();
    node.uses.open++;
    this.#kept.push(node);
  }

  /** From now on the tensor is gone, but for this call and what was made of it before. */
  close(node: Node, reason: string): void {
    const closing = storageOf(node).close(reason);
    if (!closing) return;
    this.#closed ??= new Map();
    this.#closed.set(node, closing);
  }

  /** The tensor is there again, if this closed it and nobody took its values. */
  reopen(node: Node): void {
    const closing = this.#closed?.get(node);
    if (closing) storageOf(node).reopen(closing);
  }

  /** Whether nobody else needs the values of a tensor that is kept once. */
  isLast(node: Node): boolean {
    return node.uses.open === 1;
  }

  /** The call has run: lets go of all. What was kept for it alone is freed. */
  release(): void {
    this.#closed = undefined;
    const kept = this.#kept;
    this.#kept = [];
    for (const node of kept) {
      node.uses.open--;
      if (node.uses.open > 0 || node.operation.kind !== "buffer") continue;
      const storage = storageOf(node);
      if (storage.isClosed) storage.dispose();
    }
  }

  /** The call is not to run any more: what it closed is there again. Nothing after it has run. */
  cancel(): void {
    if (this.#closed) for (const node of this.#closed.keys()) this.reopen(node);
    this.release();
  }
}

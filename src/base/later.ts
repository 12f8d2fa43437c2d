import type { Recent } from "./recent.ts";

// A turn of the promise queue costs more than much of what is done between two of them.

/** A value that may be there already. */
export type Later<T> = T | Promise<T>;

/** What `f` makes of a value: at once where it is there. */
export function after<T, U>(value: Later<T>, f: (value: T) => Later<U>): Later<U> {
  return value instanceof Promise ? value.then(f) : f(value);
}

/** Keeps a promise under a key until the value takes its place; if it rejects it goes. */
export function keepLater<K, V>(recent: Recent<K, Later<V>>, key: K, promise: Promise<V>): Promise<V> {
  recent.set(key, promise);
  const ifKept = (then: () => void) => {
    if (recent.get(key) === promise) then();
  };
  promise.then(
    (value) => ifKept(() => recent.set(key, value)),
    () => ifKept(() => recent.delete(key)),
  );
  return promise;
}

import { expect, test } from "vitest";
import { after, keepLater, type Later } from "../../src/base/later.ts";
import { Recent } from "../../src/base/recent.ts";

test("what is there is used at once, what is not when it comes", async () => {
  expect(after(2, (n) => n + 1)).toBe(3);
  const later = after(Promise.resolve(2), (n) => n + 1);
  expect(later).toBeInstanceOf(Promise);
  expect(await later).toBe(3);
});

test("a value takes the place of its promise, unless that has gone or another one came", async () => {
  const recent = new Recent<string, Later<number>>(2);
  await keepLater(recent, "a", Promise.resolve(1));
  expect(recent.get("a")).toBe(1);
  await expect(keepLater(recent, "b", Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(recent.get("b")).toBeUndefined();
  const dropped = keepLater(recent, "c", Promise.resolve(3));
  recent.delete("c");
  await dropped;
  expect(recent.get("c")).toBeUndefined();
  const first = keepLater(recent, "d", Promise.reject(new Error("no")));
  keepLater(recent, "d", Promise.resolve(5));
  await expect(first).rejects.toThrow("no");
  expect(await recent.get("d")).toBe(5);
});

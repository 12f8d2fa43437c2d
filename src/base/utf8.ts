/** Where the bytes stop being UTF-8; undefined if they never do. */
export function firstInvalid(bytes: Uint8Array): number | undefined {
  if (isUtf8(bytes)) return undefined;
  // The longest valid start, by bisection: what stands before an error is valid but for a cut character.
  let [valid, broken] = [0, bytes.length];
  while (broken - valid > 1) {
    const middle = (valid + broken) >> 1;
    if (isUtf8(bytes.subarray(0, middle), true)) valid = middle;
    else broken = middle;
  }
  return valid;
}

/** With `stream`, a last character may be cut. */
function isUtf8(bytes: Uint8Array, stream = false): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes, { stream });
    return true;
  } catch {
    return false;
  }
}

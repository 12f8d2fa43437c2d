/** FNV-1a of 64 bits, as two halves of 32: tells data and runs apart, and keeps nothing secret. */
export class Hash {
  #high = 0xcbf29ce4;
  #low = 0x84222325;

  /** A hash that goes on from what `toString` gave. */
  static from(text: string): Hash {
    const hash = new Hash();
    hash.#high = Number.parseInt(text.slice(0, 8), 16);
    hash.#low = Number.parseInt(text.slice(8), 16);
    return hash;
  }

  add(data: ArrayBufferView | string): this {
    const bytes =
      typeof data === "string"
        ? new TextEncoder().encode(data)
        : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    let [high, low] = [this.#high, this.#low];
    for (const byte of bytes) {
      low = (low ^ byte) >>> 0;
      // Times 2^40 + 0x1b3, modulo 2^64.
      const product = low * 0x1b3;
      high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
      low = product >>> 0;
    }
    [this.#high, this.#low] = [high, low];
    return this;
  }

  /** The same for much data, word by word: another value than that of its bytes, and some GB a second. */
  addWords(data: ArrayBufferView): this {
    if (data.byteOffset % 4 !== 0 || data.byteLength % 4 !== 0) return this.add(data);
    const words = new Uint32Array(data.buffer, data.byteOffset, data.byteLength / 4);
    let [a, b] = [this.#low | 0, this.#high | 0];
    for (let i = 0; i < words.length; i++) {
      a = Math.imul(a ^ words[i]!, 0x01000193);
      b = Math.imul(b ^ ((a >>> 15) + words[i]!), 0x85ebca6b);
    }
    return this.add(Int32Array.of(a, b, words.length));
  }

  /** 16 hexadecimal digits. */
  toString(): string {
    return [this.#high, this.#low].map((half) => half.toString(16).padStart(8, "0")).join("");
  }
}

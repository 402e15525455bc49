// Random numbers of a seed, the same on every machine, and what targets make of them.

export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** 32 bits (mulberry32). */
  bits() {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  below(count) {
    return this.bits() % count;
  }

  chance(one, of) {
    return this.below(of) < one;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  bytes(length) {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  /** A number of 32 bits that is often at an edge. */
  i32() {
    const edges = [0, 1, 2, 7, 8, 64, 1000, 65535, 65536, 65537, 2 ** 31 - 1, -(2 ** 31), -1, -2, -8];
    return this.chance(3, 4) ? this.pick(edges) : this.bits() | 0;
  }

  i64() {
    const edges = [0n, 1n, -1n, 255n, 1n << 31n, 1n << 32n, (1n << 63n) - 1n, -(1n << 63n)];
    return this.chance(3, 4)
      ? this.pick(edges)
      : BigInt.asIntN(64, (BigInt(this.bits()) << 32n) | BigInt(this.bits()));
  }
}

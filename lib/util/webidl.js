'use strict';
// What Web IDL asks of classes: their attributes, their private parts, and the prototypes of their objects.

function isObject(value) {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/**
 * Private parts that can be put on any object, also on one that V8 has made: `put(object, parts)`,
 * and `of(value)`, which is undefined for any other value.
 */
function privateParts() {
  class Parts extends function (object) {
    return object;
  } {
    #parts;

    constructor(object, parts) {
      super(object);
      this.#parts = parts;
    }

    static of(value) {
      return isObject(value) && #parts in value ? value.#parts : undefined;
    }
  }
  return { put: (object, parts) => void new Parts(object, parts), of: Parts.of };
}

/**
 * Gives an object the prototype of newTarget's realm where newTarget has none to give. Web IDL
 * has it so; the language itself falls back on Object.prototype.
 */
function settle(object, newTarget, Class) {
  if (newTarget === Class || isObject(newTarget.prototype)) return;
  let { prototype } = Class;
  try {
    const Function = Object.getPrototypeOf(object).constructor.constructor;
    const theirs = Function('return globalThis')().WebAssembly?.[Class.name]?.prototype;
    if (isObject(theirs)) prototype = theirs;
  } catch {
    // Code from strings is forbidden there; our own is as good.
  }
  Object.setPrototypeOf(object, prototype);
}

const { values: iterate } = Array.prototype;

/**
 * An object with the prototype of `object` that nothing can clone or post, as V8's objects of these
 * classes. What serializers take of an ordinary object is its properties, and so nothing of ours;
 * of an iterator they take nothing, on any version, and it looks like any other object.
 */
function uncloneable(object) {
  return Object.setPrototypeOf(Reflect.apply(iterate, [], []), Object.getPrototypeOf(object));
}

/**
 * Makes `instanceof` of a class look at what just came from another thread. It arrives as an object of
 * V8's class: `arrived(value)` makes one of ours of it, or tells that the class takes it as it is.
 */
function recognize(Class, arrived) {
  const ordinary = Function.prototype[Symbol.hasInstance];
  const value = {
    [Symbol.hasInstance](value) {
      const taken = isObject(value) && arrived(value);
      return ordinary.call(this, value) || (taken === true && this === Class);
    },
  }[Symbol.hasInstance];
  Object.defineProperty(Class, Symbol.hasInstance, { value });
}

/** Gives a class the attributes of a Web IDL interface. */
function describe(Class, name) {
  for (const holder of [Class, Class.prototype]) {
    for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(holder))) {
      const member = holder === Class ? property.writable && key !== 'name' : key !== 'constructor';
      if (member) Object.defineProperty(holder, key, { enumerable: true });
    }
  }
  tag(Class.prototype, name);
}

/** Makes `close` what `using` calls, too; as a method that does not show in listings. */
function closeable(Class) {
  const { close } = Class.prototype;
  const attributes = { value: close, writable: true, enumerable: false, configurable: true };
  Object.defineProperty(Class.prototype, 'close', attributes);
  if (Symbol.dispose !== undefined) Object.defineProperty(Class.prototype, Symbol.dispose, attributes);
}

function tag(object, name) {
  Object.defineProperty(object, Symbol.toStringTag, { value: name, configurable: true });
}

module.exports = {
  closeable,
  describe,
  isObject,
  privateParts,
  recognize,
  settle,
  tag,
  uncloneable,
};
